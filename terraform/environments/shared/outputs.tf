output "facts" {
  description = "Facts for later phases: kubeconfig, add-ons, and the annotations of Argo CD's cluster Secret."
  value = {
    site                   = var.site
    region                 = var.region
    environment            = var.environment
    account_id             = var.account_id
    cluster_name           = module.eks.name
    cluster_endpoint       = module.eks.endpoint
    cluster_ca             = module.eks.certificate_authority_data
    vpc_id                 = module.vpc.id
    image_registry         = split("/", module.ecr.url)[0]
    image_repository       = module.ecr.settings.name
    host                   = local.host
    certificate_arn        = module.dns.certificate_arn
    waf_arn                = module.waf.arn
    database_proxy         = module.rds.proxy_address
    load_balancer_cidrs    = join(",", module.vpc.public_subnet_cidrs)
    database_cidrs         = join(",", module.vpc.database_subnet_cidrs)
    application_role_arn   = module.irsa.arns["application"]
    migrate_role_arn       = module.irsa.arns["migrate"]
    load_balancer_role_arn = module.irsa.arns["load-balancer-controller"]
    autoscaler_role_arn    = module.irsa.arns["cluster-autoscaler"]
    argocd_role_arn        = local.is_control ? module.irsa.arns["argocd"] : ""
    deployer_role_arn      = local.is_control ? "" : aws_iam_role.deployer[0].arn
    api_key_secret         = module.secrets.names["api-key"]
    git_repository         = var.git_repository
  }
}

output "nat_addresses" {
  description = "Public addresses from which this region's pods connect to others."
  value       = module.vpc.nat_addresses
}

output "settings" {
  description = "Settings of everything here, for reading and for tests."
  value = {
    tags           = local.default_tags
    kms            = module.kms.settings
    vpc            = module.vpc.settings
    endpoints      = module.vpc.endpoints
    eks            = module.eks.settings
    node_groups    = module.eks.node_groups
    access_entries = module.eks.access_entries
    rds            = module.rds.settings
    parameters     = module.rds.parameters
    proxy          = module.rds.proxy
    audit          = module.audit.settings
    ecr            = module.ecr.settings
    roles          = local.roles
    trust          = module.irsa.trust
    rotation       = module.rotation.policy
    deployer_trust = local.deployer_trust
  }
}
