variable "name" {
  description = "Name of the cluster."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,40}$", var.name))
    error_message = "name must be 3 to 41 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes, one that EKS supports."
  type        = string

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version must be a minor version, for example 1.35."
  }
}

variable "addon_versions" {
  description = "Exact version of each add-on."
  type = object({
    vpc-cni            = string
    coredns            = string
    kube-proxy         = string
    aws-ebs-csi-driver = string
    metrics-server     = string
  })

  validation {
    condition     = alltrue([for version in values(var.addon_versions) : can(regex("^v[0-9.]+-eksbuild\\.[0-9]+$", version))])
    error_message = "addon_versions must be exact versions, for example v1.13.2-eksbuild.1."
  }
}

variable "vpc_id" {
  description = "Network of the cluster."
  type        = string

  validation {
    condition     = length(var.vpc_id) > 0
    error_message = "vpc_id must not be empty."
  }
}

variable "subnet_ids" {
  description = "Private subnets, one for each zone, in the order of the zones."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "subnet_ids must not be empty."
  }
}

variable "availability_zones" {
  description = "Zones of the subnets, in their order: each gets an application node group of its own."
  type        = list(string)

  validation {
    condition     = length(distinct(var.availability_zones)) == 3
    error_message = "availability_zones must name three different zones."
  }
}

variable "api_allowed_cidrs" {
  description = "Addresses that may reach the public endpoint of the Kubernetes API."
  type        = list(string)

  validation {
    condition = length(var.api_allowed_cidrs) > 0 && alltrue([
      for cidr in var.api_allowed_cidrs : can(cidrhost(cidr, 0)) && tonumber(split("/", cidr)[1]) >= 16
    ])
    error_message = "api_allowed_cidrs must contain at least one network, and none wider than /16: the API must not be open to the whole internet."
  }
}

variable "key_arns" {
  description = "KMS keys: cluster (Secrets in etcd), nodes (volumes), logs (control plane)."
  type = object({
    cluster = string
    nodes   = string
    logs    = string
  })

  validation {
    condition     = alltrue([for arn in values(var.key_arns) : startswith(arn, "arn:aws:")])
    error_message = "key_arns must be ARNs of KMS keys."
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles or users that administer the cluster, each under a name of its own."
  type        = map(string)

  validation {
    condition = length(var.administrators) > 0 && alltrue([
      for arn in values(var.administrators) : can(regex("^arn:aws:iam::[0-9]{12}:(role|user)/", arn))
    ])
    error_message = "administrators must contain ARNs of IAM roles or users, at least one: nobody else can administer the cluster."
  }

  validation {
    condition     = length(distinct(values(var.administrators))) == length(var.administrators)
    error_message = "administrators must name each role or user only once: the cluster accepts one entry for each."
  }
}

# An object, not an ARN: whether there is a deployer, and so which access entries there are, must be known before the
# role has its ARN.
variable "deployer" {
  description = "Role that Argo CD assumes here; it gets a Kubernetes group and no EKS access policy."
  type        = object({ arn = string })
  default     = null

  validation {
    condition     = var.deployer == null || can(regex("^arn:aws:iam::[0-9]{12}:role/", var.deployer.arn))
    error_message = "deployer.arn must be the ARN of an IAM role."
  }
}

variable "deployer_group" {
  description = "Kubernetes group of the deployer; argocd/rbac.yaml says what it may do."
  type        = string
  default     = "payment-latency-api:deployers"

  validation {
    condition     = !startswith(var.deployer_group, "system:")
    error_message = "deployer_group must not be one of Kubernetes' own groups (system:)."
  }
}

variable "system_nodes" {
  description = <<-TEXT
    Nodes for add-ons and controllers, in as many zones as there are nodes, up to all zones. A new count that changes
    these zones replaces the group: new nodes come first, then the former ones go. Any other new count scales it.
  TEXT
  type = object({
    count          = number
    instance_types = list(string)
  })
  default = { count = 2, instance_types = ["m7i.large"] }

  validation {
    condition     = var.system_nodes.count >= 2 && length(var.system_nodes.instance_types) > 0
    error_message = "system_nodes must have a count of at least 2, so that one node can be replaced, and at least one instance type."
  }
}

variable "application_nodes" {
  description = "Nodes for the application, all zones together; the autoscaler keeps their number between min and max."
  type = object({
    min            = number
    max            = number
    instance_types = list(string)
  })
  default = { min = 2, max = 6, instance_types = ["c7i.large"] }

  validation {
    condition     = var.application_nodes.min >= 2 && var.application_nodes.max <= 6 && var.application_nodes.min <= var.application_nodes.max
    error_message = "application_nodes.min and application_nodes.max must be between 2 and 6, and min must not be above max."
  }

  validation {
    condition     = length(var.application_nodes.instance_types) > 0
    error_message = "application_nodes.instance_types must contain at least one type."
  }
}

variable "log_retention_days" {
  description = "Days that control plane logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 90, 180, 365, 400, 731], var.log_retention_days)
    error_message = "log_retention_days must be 30, 90, 180, 365, 400 or 731."
  }
}

variable "tags" {
  description = "Tags for resources made outside Terraform: instances, their volumes and interfaces, volumes of claims."
  type        = map(string)
  default     = {}
}

variable "deletion_protection" {
  description = "Whether the cluster refuses to be deleted."
  type        = bool
  default     = true
}
