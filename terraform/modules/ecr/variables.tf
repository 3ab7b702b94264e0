variable "name" {
  description = "Name of the repository."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,60}$", var.name))
    error_message = "name must be 3 to 61 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "key_arn" {
  description = "KMS key of the images."
  type        = string

  validation {
    condition     = startswith(var.key_arn, "arn:aws:")
    error_message = "key_arn must be the ARN of a KMS key."
  }
}

variable "kept_images" {
  description = "How many of the newest images are kept."
  type        = number
  default     = 50

  validation {
    condition     = var.kept_images >= 10
    error_message = "kept_images must be at least 10: a roll-back needs the older images."
  }
}
