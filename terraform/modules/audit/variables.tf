variable "name" {
  description = "Prefix of the names of everything that this module makes."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,40}$", var.name))
    error_message = "name must be 3 to 41 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "region" {
  description = "Region of what this module makes."
  type        = string
}

variable "account_id" {
  description = "Account of what this module makes."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "state_bucket" {
  description = "Bucket with this region's Terraform state. Every read and write of its objects is recorded."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9.-]{2,62}$", var.state_bucket))
    error_message = "state_bucket must be the name of an S3 bucket."
  }
}

variable "retention_days" {
  description = "Days during which nobody can remove a record."
  type        = number
  default     = 365

  validation {
    condition     = var.retention_days >= 90
    error_message = "retention_days must be at least 90."
  }
}
