# Control across regions: Argo CD runs in one region and deploys to both. No payment travels this way, but Argo CD could
# read payments, and secrets, through a Job of its own making (docs/ADR-03-SECRET-MANAGEMENT.md). In the managed region
# Argo CD is an IAM role that maps to a Kubernetes group; argocd/rbac.yaml says what that group may do.

locals {
  control_site  = "spain"
  managed_sites = ["mexico"]
  is_control    = var.site == local.control_site

  # Built from known names, not looked up: neither region reads the other's state.
  iam              = "arn:aws:iam::${var.account_id}"
  control_role_arn = "${local.iam}:role/${local.project}-${local.control_site}-argocd"

  control_policy = {
    Version = "2012-10-17"
    Statement = [{
      Sid      = "BecomeDeployer"
      Effect   = "Allow"
      Action   = ["sts:AssumeRole"]
      Resource = [for site in local.managed_sites : "${local.iam}:role/${local.project}-${site}-deployer"]
    }]
  }

  # The account is the principal and the role a condition: a principal must exist when the policy is written, and the
  # two regions are made side by side.
  deployer_trust = {
    Version = "2012-10-17"
    Statement = [{
      Sid       = "ArgoCD"
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { AWS = "${local.iam}:root" }
      Condition = { ArnEquals = { "aws:PrincipalArn" = local.control_role_arn } }
    }]
  }
}

# This role has no policy: it is only a name that the cluster knows.
resource "aws_iam_role" "deployer" {
  count = local.is_control ? 0 : 1

  name               = "${local.name}-deployer"
  description        = "Argo CD, as the cluster of ${var.site} knows it"
  assume_role_policy = jsonencode(local.deployer_trust)
}
