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


variable "key_arn" {
  description = "KMS key of the notifications."
  type        = string

  validation {
    condition     = startswith(var.key_arn, "arn:aws:")
    error_message = "key_arn must be the ARN of a KMS key."
  }
}

variable "email" {
  description = "Address that alarms and the budget's warnings go to."
  type        = string

  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.email))
    error_message = "email must be an e-mail address."
  }
}

variable "monthly_budget_usd" {
  description = "Monthly budget in US dollars. Warnings: at 80 % spent, and at 100 % forecast. 0 makes no budget."
  type        = number

  validation {
    condition     = var.monthly_budget_usd >= 0
    error_message = "monthly_budget_usd must not be negative; 0 makes no budget."
  }
}
