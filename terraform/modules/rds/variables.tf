variable "name" {
  description = "Prefix of the names of everything that this module makes."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,40}$", var.name))
    error_message = "name must be 3 to 41 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "vpc_id" {
  description = "Network of the database."
  type        = string

  validation {
    condition     = length(var.vpc_id) > 0
    error_message = "vpc_id must not be empty."
  }
}

variable "subnet_ids" {
  description = "Database subnets, which also hold the proxy's addresses."
  type        = list(string)

  validation {
    condition     = length(var.subnet_ids) > 0
    error_message = "subnet_ids must not be empty."
  }
}

variable "subnet_group_name" {
  description = "Subnet group of the database subnets."
  type        = string

  validation {
    condition     = length(var.subnet_group_name) > 0
    error_message = "subnet_group_name must not be empty."
  }
}

variable "client_security_groups" {
  description = "Security groups that may reach the proxy and the database, each under a name of its own."
  type        = map(string)

  validation {
    condition     = length(var.client_security_groups) > 0
    error_message = "client_security_groups must not be empty: otherwise nothing could reach the database."
  }
}

variable "login_secret_arns" {
  description = "Secrets with the two application logins, by name. The proxy knows both, so either may be the current one."
  type        = map(string)

  validation {
    condition     = length(var.login_secret_arns) == 2
    error_message = "login_secret_arns must contain exactly two logins, which take turns."
  }
}

variable "key_arns" {
  description = "KMS keys: database (storage, insights, logs), secrets (passwords), logs (the proxy's log)."
  type = object({
    database = string
    secrets  = string
    logs     = string
  })

  validation {
    condition     = alltrue([for arn in values(var.key_arns) : startswith(arn, "arn:aws:")])
    error_message = "key_arns must be ARNs of KMS keys."
  }
}

variable "engine_version" {
  description = "PostgreSQL's major version, or an exact one."
  type        = string
  default     = "17"

  validation {
    condition     = can(regex("^17(\\.[0-9]+)?$", var.engine_version))
    error_message = "engine_version must be 17 or 17.x: the parameter group is for PostgreSQL 17."
  }
}

variable "instance_class" {
  description = "Size of the database."
  type        = string
  default     = "db.m7g.large"

  validation {
    condition     = startswith(var.instance_class, "db.") && !startswith(var.instance_class, "db.t")
    error_message = "instance_class must begin with db. and must not be burstable (db.t…): without credits, commits take seconds."
  }
}

variable "allocated_storage_gib" {
  description = "Initial GiB of storage. From 400, gp3 stripes over four volumes: 12,000 operations, 500 MB a second."
  type        = number
  default     = 400

  validation {
    condition     = var.allocated_storage_gib >= 400 && var.allocated_storage_gib <= 8192
    error_message = "allocated_storage_gib must be between 400 and 8192: below 400, gp3 has a quarter of the operations per second."
  }
}

variable "backup_window" {
  description = "Time of the daily backup, in UTC."
  type        = string

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$", var.backup_window))
    error_message = "backup_window must be two times of day in UTC, for example 02:00-03:00."
  }
}

variable "maintenance_window" {
  description = "Weekly time at which AWS may patch the database, in UTC."
  type        = string

  validation {
    condition = can(regex(
      "^(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]$",
      var.maintenance_window,
    ))
    error_message = "maintenance_window must be two times of the week in UTC, for example sun:04:30-sun:05:30."
  }
}

variable "deletion_protection" {
  description = "Whether the database refuses to be deleted."
  type        = bool
  default     = true
}

variable "insights_mode" {
  description = "Database Insights: advanced keeps 15 months, standard 7 days."
  type        = string
  default     = "advanced"

  validation {
    condition     = contains(["advanced", "standard"], var.insights_mode)
    error_message = "insights_mode must be advanced or standard."
  }
}

variable "alarm_topic_arn" {
  description = "Topic that alarms go to."
  type        = string

  validation {
    condition     = can(regex("^arn:aws:sns:", var.alarm_topic_arn))
    error_message = "alarm_topic_arn must be the ARN of an SNS topic."
  }
}
