variable "name" {
  description = "Prefix of the names of everything that this module makes."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,40}$", var.name))
    error_message = "name must be 3 to 41 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "package" {
  description = "Zip file with the rotation function; scripts/rotation-package.sh makes it."
  type        = string

  validation {
    condition     = endswith(var.package, ".zip")
    error_message = "package must be a .zip file: scripts/rotation-package.sh makes it."
  }
}

variable "region" {
  description = "Region of the secrets."
  type        = string
}

variable "account_id" {
  description = "Account of the secrets."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}

variable "secret_arns" {
  description = "Secrets of the secrets module: database, database-owner, database-login-a, database-login-b."
  type        = map(string)

  validation {
    condition     = alltrue([for name in ["database", "database-owner", "database-login-a", "database-login-b"] : contains(keys(var.secret_arns), name)])
    error_message = "secret_arns must contain database, database-owner, database-login-a and database-login-b."
  }
}

variable "master_secret_arn" {
  description = "Secret with the master password, which RDS keeps."
  type        = string

  validation {
    condition     = length(var.master_secret_arn) > 0
    error_message = "master_secret_arn must not be empty."
  }
}

variable "alarm_topic_arn" {
  description = "SNS topic for alarms about rotations that failed."
  type        = string

  validation {
    condition     = can(regex("^arn:aws:sns:", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must be the ARN of an SNS topic."
  }
}

variable "key_arns" {
  description = "KMS keys: secrets, logs."
  type = object({
    secrets = string
    logs    = string
  })

  validation {
    condition     = alltrue([for arn in values(var.key_arns) : startswith(arn, "arn:aws:")])
    error_message = "key_arns must be ARNs of KMS keys."
  }
}

variable "subnet_ids" {
  description = "Private subnets that the function runs in."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "subnet_ids must not be empty."
  }
}

variable "security_group_id" {
  description = "Security group of the function; the database admits it."
  type        = string

  validation {
    condition     = length(var.security_group_id) > 0
    error_message = "security_group_id must not be empty."
  }
}

variable "days" {
  description = "Days between rotations."
  type        = number
  default     = 7

  validation {
    condition     = var.days >= 2 && var.days <= 90
    error_message = "days must be between 2 and 90: a connection lives for up to a day, and its login must not change during that time."
  }
}
