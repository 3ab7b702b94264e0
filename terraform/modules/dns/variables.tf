variable "domain" {
  description = "Host name of this region's payments."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.domain))
    error_message = "domain must be a host name, for example spain.pay.example.com."
  }
}

variable "zone_name" {
  description = "Public hosted zone in Route 53 that the host name is in."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.zone_name))
    error_message = "zone_name must be a domain, for example example.com."
  }
}

variable "load_balancer_stack" {
  description = "Ingress (namespace/name) whose load balancer the host name points to."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9-]+/[a-z0-9-]+$", var.load_balancer_stack))
    error_message = "load_balancer_stack must be the namespace/name of the Ingress."
  }
}

variable "cluster_name" {
  description = "Cluster whose controller made the load balancer."
  type        = string

  validation {
    condition     = length(var.cluster_name) > 0
    error_message = "cluster_name must not be empty."
  }
}

variable "publish" {
  description = "Whether the load balancer exists. Phase 7 applies again with true once it does."
  type        = bool
  default     = false
}
