variable "name" {
  description = "Name of the network and prefix of what is in it."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,40}$", var.name))
    error_message = "name must be 3 to 41 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "cidr" {
  description = "Addresses of the network, a /16."
  type        = string

  validation {
    condition     = can(cidrhost(var.cidr, 0)) && endswith(var.cidr, ".0.0/16")
    error_message = "cidr must be a /16, for example 10.10.0.0/16."
  }
}

variable "availability_zones" {
  description = "The three zones that every tier spreads over."
  type        = list(string)

  validation {
    condition     = length(distinct(var.availability_zones)) == 3
    error_message = "availability_zones must name three different zones."
  }
}

variable "cluster_name" {
  description = "Cluster whose load balancers use the public subnets."
  type        = string

  validation {
    condition     = length(var.cluster_name) > 0
    error_message = "cluster_name must not be empty."
  }
}

variable "nat_per_zone" {
  description = "Whether each zone has a NAT gateway. If not, one serves all, and its zone's loss cuts off the others."
  type        = bool
  default     = true
}

variable "logs_key_arn" {
  description = "KMS key of the flow log."
  type        = string

  validation {
    condition     = startswith(var.logs_key_arn, "arn:aws:")
    error_message = "logs_key_arn must be the ARN of a KMS key."
  }
}

variable "log_retention_days" {
  description = "Days that flow logs are kept."
  type        = number
  default     = 365

  validation {
    condition     = contains([30, 90, 180, 365, 400, 731], var.log_retention_days)
    error_message = "log_retention_days must be 30, 90, 180, 365, 400 or 731."
  }
}
