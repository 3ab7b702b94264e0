variable "name" {
  description = "Prefix of the roles' names."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,40}$", var.name))
    error_message = "name must be 3 to 41 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "oidc_provider_arn" {
  description = "Identity provider of the cluster."
  type        = string

  validation {
    condition     = length(var.oidc_provider_arn) > 0
    error_message = "oidc_provider_arn must not be empty."
  }
}

variable "roles" {
  description = <<-TEXT
    Roles by name. service_accounts are written namespace:name, and only they may take the role. Each role has exactly
    one of: policy, a policy document of this project, or published, load_balancer_controller or cluster_autoscaler.
  TEXT
  type = map(object({
    service_accounts = list(string)
    policy           = optional(string)
    published        = optional(string)
  }))

  validation {
    condition = alltrue(flatten([for role in var.roles : [
      for account in role.service_accounts : can(regex("^[a-z0-9-]+:[a-z0-9-]+$", account))
    ]]))
    error_message = "service_accounts must be written namespace:name, without wildcards."
  }

  validation {
    condition = alltrue([for role in var.roles :
      (role.policy == null) != (role.published == null) &&
      contains(["load_balancer_controller", "cluster_autoscaler"], coalesce(role.published, "cluster_autoscaler"))
    ])
    error_message = "Each role must have either a policy, or published set to load_balancer_controller or cluster_autoscaler."
  }
}

variable "cluster_name" {
  description = "Cluster whose node groups the autoscaler may change."
  type        = string

  validation {
    condition     = length(var.cluster_name) > 0
    error_message = "cluster_name must not be empty."
  }
}
