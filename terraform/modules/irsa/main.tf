# IAM roles for Kubernetes ServiceAccounts.

locals {
  settings = {
    for name, role in var.roles : name => {
      service_accounts           = role.service_accounts
      create_policy              = role.published != null
      policies                   = role.policy == null ? {} : { own = aws_iam_policy.own[name].arn }
      load_balancer_controller   = role.published == "load_balancer_controller"
      cluster_autoscaler         = role.published == "cluster_autoscaler"
      autoscaler_of_cluster_only = role.published == "cluster_autoscaler" ? [var.cluster_name] : []
    }
  }
}

module "role" {
  source   = "terraform-aws-modules/iam/aws//modules/iam-role-for-service-accounts"
  version  = "6.5.0"
  for_each = local.settings

  name            = "${var.name}-${each.key}"
  policy_name     = "${var.name}-${each.key}"
  use_name_prefix = false

  # Equality, not a pattern: no other ServiceAccount can assume the role.
  trust_condition_test = "StringEquals"
  oidc_providers = {
    cluster = {
      provider_arn               = var.oidc_provider_arn
      namespace_service_accounts = each.value.service_accounts
    }
  }

  create_policy = each.value.create_policy
  policies      = each.value.policies

  attach_load_balancer_controller_policy = each.value.load_balancer_controller
  attach_cluster_autoscaler_policy       = each.value.cluster_autoscaler
  cluster_autoscaler_cluster_names       = each.value.autoscaler_of_cluster_only
}

resource "aws_iam_policy" "own" {
  for_each = { for name, role in var.roles : name => role if role.policy != null }

  name   = "${var.name}-${each.key}"
  policy = each.value.policy
}
