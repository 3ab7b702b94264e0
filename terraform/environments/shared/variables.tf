# Variables of a region; terraform.tfvars in its folder sets those that differ.

variable "site" {
  description = "Name of this region in this project, and of its kubectl context."
  type        = string

  validation {
    condition     = contains(["spain", "mexico"], var.site)
    error_message = "site must be spain or mexico."
  }
}

variable "environment" {
  description = "Stage, for example production: part of the secrets' names, and a tag."
  type        = string
  default     = "production"

  validation {
    condition     = can(regex("^[a-z][a-z0-9]{1,15}$", var.environment))
    error_message = "environment must be 2 to 16 lower-case letters and digits, and begin with a letter."
  }
}

variable "region" {
  description = "AWS region that everything here is in."
  type        = string

  validation {
    condition     = contains(["eu-south-2", "us-east-1"], var.region)
    error_message = "region must be eu-south-2 or us-east-1: the service knows only the law and the certificates of these two."
  }
}

variable "residency" {
  description = "Law that applies to the data, EU or MX, wherever the data is stored: Mexico's is in the United States."
  type        = string

  validation {
    condition     = lookup({ "eu-south-2" = "EU", "us-east-1" = "MX" }, var.region, "") == var.residency
    error_message = "residency must be EU in eu-south-2, and MX in us-east-1: each region's data must stay there."
  }
}

variable "cidr" {
  description = "Addresses of the network, a /16 that no other region uses."
  type        = string

  validation {
    condition     = can(regex("^10\\.[0-9]{1,3}\\.0\\.0/16$", var.cidr)) && can(cidrhost(var.cidr, 0))
    error_message = "cidr must be a /16 in 10.0.0.0/8, for example 10.10.0.0/16."
  }
}

variable "availability_zones" {
  description = "Three zones of the region."
  type        = list(string)

  validation {
    condition     = length(distinct(var.availability_zones)) == 3 && alltrue([for zone in var.availability_zones : startswith(zone, var.region)])
    error_message = "availability_zones must name three different zones of the region."
  }
}

variable "nat_per_zone" {
  description = "Whether each zone has a NAT gateway of its own; with false, one serves all zones."
  type        = bool
  default     = true
}

variable "kubernetes_version" {
  description = "Minor version of Kubernetes."
  type        = string
  default     = "1.35"

  validation {
    condition     = can(regex("^1\\.[0-9]{2}$", var.kubernetes_version))
    error_message = "kubernetes_version must be a minor version, for example 1.35."
  }
}

variable "addon_versions" {
  description = "Version of each EKS add-on, for this version of Kubernetes."
  type = object({
    vpc-cni            = string
    coredns            = string
    kube-proxy         = string
    aws-ebs-csi-driver = string
    metrics-server     = string
  })
  default = {
    vpc-cni            = "v1.21.1-eksbuild.3"
    coredns            = "v1.13.2-eksbuild.1"
    kube-proxy         = "v1.35.0-eksbuild.2"
    aws-ebs-csi-driver = "v1.54.0-eksbuild.1"
    metrics-server     = "v0.8.0-eksbuild.6"
  }

  validation {
    condition     = alltrue([for version in values(var.addon_versions) : can(regex("^v[0-9.]+-eksbuild\\.[0-9]+$", version))])
    error_message = "addon_versions must be exact versions, for example v1.13.2-eksbuild.1."
  }
}

variable "application_nodes" {
  description = "Nodes for the application, all zones together. With three or more, each zone has one."
  type = object({
    min            = number
    max            = number
    instance_types = list(string)
  })
  default = { min = 3, max = 6, instance_types = ["c7i.large"] }

  validation {
    condition     = var.application_nodes.min >= (var.environment == "production" ? 3 : 2)
    error_message = "application_nodes.min must be at least 2, and in production at least 3, one for each zone."
  }

  validation {
    condition     = var.application_nodes.max <= 6 && var.application_nodes.min <= var.application_nodes.max
    error_message = "application_nodes.max must be at most 6, and must not be below application_nodes.min."
  }

  validation {
    condition     = length(var.application_nodes.instance_types) > 0
    error_message = "application_nodes.instance_types must contain at least one type."
  }
}

variable "database_instance_class" {
  description = "Size of the database."
  type        = string
  default     = "db.m7g.large"

  validation {
    condition     = startswith(var.database_instance_class, "db.") && !startswith(var.database_instance_class, "db.t")
    error_message = "database_instance_class must be an RDS instance class, for example db.m7g.large, and must not be burstable (db.t…)."
  }
}

variable "database_storage_gib" {
  description = "Initial storage of the database, in GiB. It grows by itself to four times that."
  type        = number
  default     = 400

  validation {
    condition     = var.database_storage_gib >= 400 && var.database_storage_gib <= 8192
    error_message = "database_storage_gib must be between 400 and 8192: below 400, gp3 has a quarter of the operations per second."
  }
}

variable "database_backup_window" {
  description = "Time of the database's daily backup, in UTC: at night in the region."
  type        = string

  validation {
    condition     = can(regex("^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-3]):[0-5][0-9]$", var.database_backup_window))
    error_message = "database_backup_window must be two times of day in UTC, for example 02:00-03:00."
  }
}

variable "database_maintenance_window" {
  description = "Weekly time for AWS to patch the database, in UTC: at night, and not on the other region's day."
  type        = string

  validation {
    condition = can(regex(
      "^(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]-(mon|tue|wed|thu|fri|sat|sun):([01][0-9]|2[0-3]):[0-5][0-9]$",
      var.database_maintenance_window,
    ))
    error_message = "database_maintenance_window must be two times of the week in UTC, for example sun:04:30-sun:05:30."
  }
}

variable "monthly_budget_usd" {
  description = "Monthly budget of the region in US dollars, for warnings about cost. 0: no budget, for accounts that may not have one."
  type        = number

  validation {
    condition     = var.monthly_budget_usd >= 0
    error_message = "monthly_budget_usd must not be negative; 0 makes no budget."
  }
}

variable "deletion_protection" {
  description = "Whether cluster and database refuse to be deleted. make down asks, and then first turns this off."
  type        = bool
  default     = true
}

# Variables that the operator sets once, in operator.tfvars two folders up, which git ignores.

variable "account_id" {
  description = "AWS account."
  type        = string

  validation {
    condition     = can(regex("^[0-9]{12}$", var.account_id))
    error_message = "account_id must be twelve digits: aws sts get-caller-identity prints it."
  }
}

variable "administrators" {
  description = "ARNs of the IAM roles or users that administer the clusters, each under a name of your choice."
  type        = map(string)

  validation {
    condition = length(var.administrators) > 0 && alltrue([
      for arn in values(var.administrators) : can(regex("^arn:aws:iam::${var.account_id}:(role|user)/", arn))
    ])
    error_message = "administrators must contain ARNs of IAM roles or users of this account, at least one: nobody else can administer the cluster."
  }

  validation {
    condition     = length(distinct(values(var.administrators))) == length(var.administrators)
    error_message = "administrators must name each role or user only once: the cluster accepts one entry for each."
  }
}

variable "operator_cidrs" {
  description = "Networks from which the operators reach the Kubernetes API."
  type        = list(string)

  validation {
    condition = length(var.operator_cidrs) > 0 && alltrue([
      for cidr in var.operator_cidrs : try(cidrsubnet(cidr, 0, 0) == cidr && can(cidrnetmask(cidr)) && tonumber(split("/", cidr)[1]) >= 16, false)
    ])
    error_message = "operator_cidrs must contain at least one IPv4 network, each written with its first address and not wider than /16, for example 203.0.113.0/24."
  }

  # No range is wider than /16, so each is either wholly inside one of these networks or wholly outside.
  validation {
    condition = alltrue(flatten([for cidr in var.operator_cidrs : [
      for private in ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10"] :
      try(cidrsubnet("${split("/", cidr)[0]}/${split("/", private)[1]}", 0, 0) != private, true)
    ]]))
    error_message = "operator_cidrs must be public addresses: EKS refuses 10.0.0.0/8, 172.16.0.0/12, 192.168.0.0/16 and 100.64.0.0/10."
  }
}

variable "zone_name" {
  description = "Public hosted zone in Route 53, for example example.com."
  type        = string

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]{2,}$", var.zone_name))
    error_message = "zone_name must be the domain of a hosted zone in Route 53, without a final dot, for example example.com."
  }
}

variable "domain" {
  description = "Domain in the hosted zone zone_name; the region's name is put before it."
  type        = string

  validation {
    condition     = var.domain == var.zone_name || endswith(var.domain, ".${var.zone_name}")
    error_message = "domain must be zone_name or a name in it."
  }

  validation {
    condition     = can(regex("^([a-z0-9-]+\\.)+[a-z]([a-z0-9-]*[a-z0-9])$", var.domain))
    error_message = "domain must be a host name in lower case, for example pay.example.com."
  }
}

variable "state_bucket_prefix" {
  description = "Prefix of the names of the two state buckets; site and region are appended, as in -spain-eu-south-2."
  type        = string

  validation {
    condition     = can(regex("^[a-z0-9][a-z0-9-]{2,40}$", var.state_bucket_prefix))
    error_message = "state_bucket_prefix must be 3 to 41 lower-case letters, digits and hyphens, and must not begin with a hyphen."
  }
}

variable "alert_email" {
  description = "Address that alarms and budget warnings go to."
  type        = string

  validation {
    condition     = can(regex("^[^@ ]+@[^@ ]+\\.[^@ ]+$", var.alert_email))
    error_message = "alert_email must be an e-mail address."
  }
}

variable "git_repository" {
  description = "Repository that Argo CD deploys from."
  type        = string

  validation {
    condition     = can(regex("^(https://|ssh://|git@).+", var.git_repository))
    error_message = "git_repository must be an https or ssh URL."
  }
}

# Variables that the phases set.

variable "rotation_package" {
  description = "Zip file with the rotation function; scripts/rotation-package.sh makes it."
  type        = string

  validation {
    condition     = endswith(var.rotation_package, ".zip")
    error_message = "rotation_package must be a .zip file: scripts/rotation-package.sh makes it."
  }
}

variable "control_addresses" {
  description = "NAT addresses of the region that Argo CD runs in and deploys from, if that is another region."
  type        = list(string)
  default     = []

  validation {
    condition     = (var.site == local.control_site) == (length(var.control_addresses) == 0)
    error_message = "control_addresses must contain the NAT addresses of the region that Argo CD runs in, and must be empty in that region itself."
  }
}

variable "publish" {
  description = "Whether the load balancer exists, so that the host name can point to it."
  type        = bool
  default     = false
}
