# One region. Spain and Mexico use this same code, each with its own terraform.tfvars. Nothing here refers to another
# region except the addresses that Argo CD comes from and its role (control.tf).

locals {
  project      = "payment-latency-api"
  name         = "${local.project}-${var.site}"
  namespace    = local.project
  host         = "${var.site}.${var.domain}"
  state_bucket = "${var.state_bucket_prefix}-${var.site}-${var.region}"
}

# The letters of zones differ between accounts, their IDs do not. use1-az3 has neither RDS Proxy nor the nodes'
# instance types.
# tflint-ignore: terraform_unused_declarations # it is read for its postcondition
data "aws_availability_zone" "chosen" {
  for_each = toset(var.availability_zones)

  name = each.key

  lifecycle {
    postcondition {
      condition     = self.zone_id != "use1-az3"
      error_message = "${each.key} is the zone use1-az3 in this account, which has neither RDS Proxy nor the nodes' instance types: name another zone in availability_zones in terraform.tfvars."
    }
  }
}

module "kms" {
  source = "../../modules/kms"

  name       = local.name
  region     = var.region
  account_id = var.account_id
  purposes   = ["cluster", "nodes", "database", "secrets", "logs", "images", "alerts"]
}

module "vpc" {
  source = "../../modules/vpc"

  name               = local.name
  cidr               = var.cidr
  availability_zones = var.availability_zones
  cluster_name       = local.name
  nat_per_zone       = var.nat_per_zone
  logs_key_arn       = module.kms.arns.logs
}

module "eks" {
  source = "../../modules/eks"

  name                = local.name
  kubernetes_version  = var.kubernetes_version
  addon_versions      = var.addon_versions
  vpc_id              = module.vpc.id
  subnet_ids          = module.vpc.private_subnet_ids
  availability_zones  = var.availability_zones
  api_allowed_cidrs   = concat(var.operator_cidrs, [for address in var.control_addresses : "${address}/32"])
  administrators      = var.administrators
  deployer            = local.is_control ? null : { arn = aws_iam_role.deployer[0].arn }
  application_nodes   = var.application_nodes
  tags                = local.default_tags
  deletion_protection = var.deletion_protection

  key_arns = {
    cluster = module.kms.arns.cluster
    nodes   = module.kms.arns.nodes
    logs    = module.kms.arns.logs
  }
}

module "secrets" {
  source = "../../modules/secrets"

  prefix  = "${local.project}/${var.environment}"
  key_arn = module.kms.arns.secrets

  database = {
    host  = module.rds.address
    proxy = module.rds.proxy_address
    port  = module.rds.port
    name  = module.rds.database
  }
}

module "rds" {
  source = "../../modules/rds"

  name                  = local.name
  vpc_id                = module.vpc.id
  subnet_ids            = module.vpc.database_subnet_ids
  subnet_group_name     = module.vpc.database_subnet_group_name
  instance_class        = var.database_instance_class
  allocated_storage_gib = var.database_storage_gib
  backup_window         = var.database_backup_window
  maintenance_window    = var.database_maintenance_window
  login_secret_arns     = module.secrets.login_arns
  deletion_protection   = var.deletion_protection
  alarm_topic_arn       = module.alerts.topic_arn

  client_security_groups = {
    nodes    = module.eks.node_security_group_id
    rotation = aws_security_group.rotation.id
  }

  key_arns = {
    database = module.kms.arns.database
    secrets  = module.kms.arns.secrets
    logs     = module.kms.arns.logs
  }
}

resource "aws_security_group" "rotation" {
  name        = "${local.name}-rotation"
  description = "Function that rotates the database logins"
  vpc_id      = module.vpc.id
}

resource "aws_vpc_security_group_egress_rule" "rotation" {
  for_each = { https = 443, postgresql = 5432 }

  security_group_id = aws_security_group.rotation.id
  description       = "${each.key} inside the network"
  cidr_ipv4         = var.cidr
  ip_protocol       = "tcp"
  from_port         = each.value
  to_port           = each.value
}

module "rotation" {
  source = "../../modules/rotation"

  name              = local.name
  package           = var.rotation_package
  region            = var.region
  account_id        = var.account_id
  secret_arns       = module.secrets.arns
  master_secret_arn = module.rds.master_secret_arn
  subnet_ids        = module.vpc.private_subnet_ids
  security_group_id = aws_security_group.rotation.id
  alarm_topic_arn   = module.alerts.topic_arn

  key_arns = {
    secrets = module.kms.arns.secrets
    logs    = module.kms.arns.logs
  }

  # The first rotation runs as soon as the schedule is made. One that found no value, or no way to the database, would
  # be retried only a few times.
  depends_on = [module.secrets, module.rds, aws_vpc_security_group_egress_rule.rotation]
}

module "ecr" {
  source = "../../modules/ecr"

  name    = local.project
  key_arn = module.kms.arns.images
}

# Must not use anything from another module: it would be destroyed along with that module.
module "audit" {
  source = "../../modules/audit"

  name         = local.name
  region       = var.region
  account_id   = var.account_id
  state_bucket = local.state_bucket
}

module "alerts" {
  source = "../../modules/alerts"

  name               = local.name
  region             = var.region
  account_id         = var.account_id
  key_arn            = module.kms.arns.alerts
  email              = var.alert_email
  monthly_budget_usd = var.monthly_budget_usd
}

module "waf" {
  source = "../../modules/waf"

  name         = local.name
  logs_key_arn = module.kms.arns.logs
}

module "dns" {
  source = "../../modules/dns"

  domain              = local.host
  zone_name           = var.zone_name
  cluster_name        = local.name
  load_balancer_stack = "${local.namespace}/${local.project}"
  publish             = var.publish
}
