variable "name" {
  description = "Prefix of the names of everything that this module makes."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,40}$", var.name))
    error_message = "name must be 3 to 41 lower-case letters, digits and hyphens, and begin with a letter."
  }
}


variable "logs_key_arn" {
  description = "KMS key of the log of refused requests."
  type        = string

  validation {
    condition     = startswith(var.logs_key_arn, "arn:aws:")
    error_message = "logs_key_arn must be the ARN of a KMS key."
  }
}

variable "requests_per_address" {
  description = "Requests that one address may make in five minutes."
  type        = number
  default     = 100000

  validation {
    condition     = var.requests_per_address >= 100 && var.requests_per_address <= 2000000000
    error_message = "requests_per_address must be between 100 and 2,000,000,000."
  }
}
