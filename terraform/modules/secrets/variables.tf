variable "prefix" {
  description = "Prefix of every secret's name: project/environment."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]+/[a-z0-9-]+$", var.prefix))
    error_message = "prefix must be project/environment, for example payment-latency-api/production."
  }
}

variable "key_arn" {
  description = "KMS key of the secrets."
  type        = string

  validation {
    condition     = startswith(var.key_arn, "arn:aws:")
    error_message = "key_arn must be the ARN of a KMS key."
  }
}

variable "database" {
  description = "Where the database is: host (for the owner), proxy (for the application), port, name."
  type = object({
    host  = string
    proxy = string
    port  = number
    name  = string
  })

  validation {
    condition     = var.database.port > 0 && var.database.port < 65536
    error_message = "database.port must be between 1 and 65535."
  }
}
