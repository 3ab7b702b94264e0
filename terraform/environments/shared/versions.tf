terraform {
  required_version = ">= 1.11"

  required_providers {
    aws = {
      source  = "hashicorp/aws"
      version = "~> 6.60"
    }
  }

  # -backend-config gives bucket, key and region: each region keeps its own state. The bucket encrypts it by default,
  # with KMS: `encrypt` without a key would ask for S3's own encryption instead.
  backend "s3" {
    use_lockfile = true
  }
}

locals {
  default_tags = {
    Project       = local.project
    Environment   = var.environment
    DataResidency = var.residency
    ManagedBy     = "terraform"
  }
}

provider "aws" {
  region              = var.region
  allowed_account_ids = [var.account_id]

  default_tags {
    tags = local.default_tags
  }
}
