variable "name" {
  description = "Prefix of every alias, for example payment-latency-api-spain."
  type        = string

  validation {
    condition     = can(regex("^[a-z][a-z0-9-]{2,40}$", var.name))
    error_message = "name must be 3 to 41 lower-case letters, digits and hyphens, and begin with a letter."
  }
}

variable "purposes" {
  description = "Purposes to make a key for: cluster, nodes, database, secrets, logs, audit, images, alerts."
  type        = set(string)

  validation {
    condition     = alltrue([for purpose in var.purposes : contains(keys(local.purposes), purpose)])
    error_message = "purposes may only contain cluster, nodes, database, secrets, logs, audit, images and alerts."
  }
}

variable "region" {
  description = "Region that the keys are in and that their policies name."
  type        = string
}

variable "account_id" {
  description = "Account whose services may use the keys."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits."
  }
}
