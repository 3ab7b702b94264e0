# Roles for what runs in the cluster and calls AWS. Only the ServiceAccounts that a role names may assume it.

locals {
  reads = {
    application = ["api-key", "database"]
    # The migration creates the application's login if it is missing, so it also reads that login's secret.
    migrate = ["database", "database-owner"]
  }

  # The chart's SecretStores name these ServiceAccounts.
  readers = {
    application = [local.project]
    migrate     = ["${local.project}-migrate", "${local.project}-prune"]
  }

  secret_policies = { for role, secrets in local.reads : role => {
    Version = "2012-10-17"
    Statement = [
      {
        Sid      = "ReadOwnSecrets"
        Effect   = "Allow"
        Action   = ["secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue"]
        Resource = [for secret in secrets : module.secrets.arns[secret]]
      },
      {
        Sid      = "DecryptThem"
        Effect   = "Allow"
        Action   = ["kms:Decrypt"]
        Resource = [module.kms.arns.secrets]
        Condition = {
          StringEquals = { "kms:ViaService" = "secretsmanager.${var.region}.amazonaws.com" }
        }
      },
    ]
  } }

  roles = merge(
    { for role, policy in local.secret_policies : role => {
      service_accounts = [for account in local.readers[role] : "${local.namespace}:${account}"]
      policy           = jsonencode(policy)
    } },
    {
      load-balancer-controller = {
        service_accounts = ["kube-system:aws-load-balancer-controller"]
        published        = "load_balancer_controller"
      }
      cluster-autoscaler = {
        service_accounts = ["kube-system:cluster-autoscaler"]
        published        = "cluster_autoscaler"
      }
    },
    local.is_control ? { argocd = {
      service_accounts = [for account in ["application-controller", "server"] : "argocd:argocd-${account}"]
      policy           = jsonencode(local.control_policy)
    } } : {},
  )
}

module "irsa" {
  source = "../../modules/irsa"

  name              = local.name
  cluster_name      = local.name
  oidc_provider_arn = module.eks.oidc_provider_arn
  roles             = local.roles
}
