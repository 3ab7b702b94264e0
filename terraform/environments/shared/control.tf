# Control that crosses regions: Argo CD runs in one region and deploys to both. No payment is sent this
# way; Argo CD could read one, and a secret, by a Job of its making (docs/ADR-03-SECRET-MANAGEMENT.md). In the managed
# region it is a role, and that role a Kubernetes group; what the group may do is in argocd/rbac.yaml.

locals {
  control_site  = "spain"
  managed_sites = ["mexico"]
  is_control    = var.site == local.control_site

  # Written out, not looked up: neither region reads the other's state.
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

  # The account as principal, and the role as a condition: a principal has to exist when the policy is written, and
  # the two regions are made side by side.
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

# It has no policy: it is nothing but a name that the cluster knows.
resource "aws_iam_role" "deployer" {
  count = local.is_control ? 0 : 1

  name               = "${local.name}-deployer"
  description        = "Argo CD, as the cluster of ${var.site} knows it"
  assume_role_policy = jsonencode(local.deployer_trust)
}
