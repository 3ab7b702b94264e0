locals {
  zone_count = length(var.availability_zones)

  # One node group per zone: the autoscaler can then add a node in the very zone whose pods are pending (the zone spread
  # is DoNotSchedule). If sizes do not divide evenly, the first zones get the remainder.
  application_sizes = [
    for zone in range(local.zone_count) : {
      min = floor(var.application_nodes.min / local.zone_count) + (zone < var.application_nodes.min % local.zone_count ? 1 : 0)
      max = floor(var.application_nodes.max / local.zone_count) + (zone < var.application_nodes.max % local.zone_count ? 1 : 0)
    }
  ]

  system_taint      = { key = "CriticalAddonsOnly", value = "true", effect = "NO_SCHEDULE" }
  application_taint = { key = "workload", value = "application", effect = "NO_SCHEDULE" }

  node_defaults = {
    ami_type                   = "AL2023_x86_64_STANDARD"
    iam_role_attach_cni_policy = false # the network plug-in has a role of its own
    ebs_optimized              = true
    enable_monitoring          = true

    # Pods are one hop further away from the metadata service than the node: with one hop allowed, they cannot get the
    # node's credentials.
    metadata_options = {
      http_endpoint               = "enabled"
      http_tokens                 = "required"
      http_put_response_hop_limit = 1
      instance_metadata_tags      = "disabled"
    }

    block_device_mappings = {
      root = {
        device_name = "/dev/xvda"
        ebs = {
          volume_type           = "gp3"
          volume_size           = 50
          encrypted             = true
          kms_key_id            = var.key_arns.nodes
          delete_on_termination = true
        }
      }
    }

    update_config = { max_unavailable = 1 }

    # A newer image replaces every node. The operator decides when (the runbook's "new node images"); an apply for
    # something else must not do it.
    use_latest_ami_release_version = false

    # The provider's default tags reach only what Terraform makes. Auto Scaling makes instances, volumes and interfaces,
    # which get these tags.
    launch_template_tags = var.tags
  }

  system_group = merge(local.node_defaults, {
    # No more zones than nodes, so that each zone has a node: Prometheus' volume is bound to one zone.
    subnet_ids     = slice(var.subnet_ids, 0, min(length(var.subnet_ids), var.system_nodes.count))
    instance_types = var.system_nodes.instance_types
    min_size       = var.system_nodes.count
    desired_size   = var.system_nodes.count
    max_size       = var.system_nodes.count + 1
    labels         = { workload = "system" }
    taints         = { system = local.system_taint }
  })

  application_groups = {
    for zone, name in var.availability_zones : "app-${name}" => merge(local.node_defaults, {
      subnet_ids     = slice(var.subnet_ids, zone, zone + 1)
      instance_types = var.application_nodes.instance_types
      min_size       = local.application_sizes[zone].min
      desired_size   = local.application_sizes[zone].min
      max_size       = local.application_sizes[zone].max
      labels         = { workload = "application" }
      taints         = { application = local.application_taint }
    }) if local.application_sizes[zone].max > 0
  }

  node_groups = merge({ system = local.system_group }, local.application_groups)

  system_toleration = [{ key = local.system_taint.key, operator = "Exists" }]
  on_system_nodes = {
    tolerations  = local.system_toleration
    nodeSelector = { workload = "system" }
  }

  # DaemonSets run on every node by their own tolerations; Deployments go to the system nodes.
  addon_configuration = {
    vpc-cni        = { enableNetworkPolicy = "true" }
    kube-proxy     = {}
    coredns        = merge(local.on_system_nodes, { replicaCount = 2 })
    metrics-server = local.on_system_nodes
    aws-ebs-csi-driver = {
      controller = merge(local.on_system_nodes, { extraVolumeTags = var.tags })
      node       = { tolerateAllTaints = true }
    }
  }

  addon_roles = {
    vpc-cni = {
      service_accounts = ["kube-system:aws-node"]
      vpc_cni          = true
      ebs_csi          = false
      volume_keys      = []
    }
    aws-ebs-csi-driver = {
      service_accounts = ["kube-system:ebs-csi-controller-sa"]
      vpc_cni          = false
      ebs_csi          = true
      volume_keys      = [var.key_arns.nodes]
    }
  }

  addons = {
    for addon, version in var.addon_versions : addon => {
      addon_version = version
      most_recent   = false
      # Without these two, new nodes would start pods that have no network or cannot reach the API through its Service.
      before_compute              = contains(["vpc-cni", "kube-proxy"], addon)
      configuration_values        = jsonencode(local.addon_configuration[addon])
      resolve_conflicts_on_create = "OVERWRITE"
      resolve_conflicts_on_update = "OVERWRITE"
      service_account_role_arn    = try(module.addon_role[addon].arn, null)
    }
  }

  access_entries = merge(
    { for name, arn in var.administrators : "administrator-${name}" => {
      principal_arn     = arn
      kubernetes_groups = []
      policy_associations = {
        administrator = {
          policy_arn   = "arn:aws:eks::aws:cluster-access-policy/AmazonEKSClusterAdminPolicy"
          access_scope = { type = "cluster" }
        }
      }
    } },
    var.deployer == null ? {} : { deployer = {
      principal_arn       = var.deployer.arn
      kubernetes_groups   = [var.deployer_group]
      policy_associations = {}
    } },
  )

  settings = {
    name                                     = var.name
    kubernetes_version                       = var.kubernetes_version
    authentication_mode                      = "API"
    enable_cluster_creator_admin_permissions = false
    endpoint_private_access                  = true
    endpoint_public_access                   = true
    endpoint_public_access_cidrs             = var.api_allowed_cidrs
    enabled_log_types                        = ["api", "audit", "authenticator", "controllerManager", "scheduler"]
    encryption_config                        = { provider_key_arn = var.key_arns.cluster, resources = ["secrets"] }
    log_retention                            = var.log_retention_days
    log_key                                  = var.key_arns.logs
    deletion_protection                      = var.deletion_protection
    support_type                             = "STANDARD"
    irsa                                     = true
  }
}

module "eks" {
  source  = "terraform-aws-modules/eks/aws"
  version = "21.19.0"

  name                = local.settings.name
  kubernetes_version  = local.settings.kubernetes_version
  upgrade_policy      = { support_type = local.settings.support_type }
  deletion_protection = local.settings.deletion_protection

  vpc_id     = var.vpc_id
  subnet_ids = var.subnet_ids

  endpoint_private_access      = local.settings.endpoint_private_access
  endpoint_public_access       = local.settings.endpoint_public_access
  endpoint_public_access_cidrs = local.settings.endpoint_public_access_cidrs

  authentication_mode                      = local.settings.authentication_mode
  enable_cluster_creator_admin_permissions = local.settings.enable_cluster_creator_admin_permissions
  access_entries                           = local.access_entries
  enable_irsa                              = local.settings.irsa

  create_kms_key    = false
  encryption_config = local.settings.encryption_config

  enabled_log_types                      = local.settings.enabled_log_types
  cloudwatch_log_group_retention_in_days = local.settings.log_retention
  cloudwatch_log_group_kms_key_id        = local.settings.log_key

  addons                  = local.addons
  eks_managed_node_groups = local.node_groups
}

# The two add-ons that call AWS.
module "addon_role" {
  source   = "terraform-aws-modules/iam/aws//modules/iam-role-for-service-accounts"
  version  = "6.5.0"
  for_each = local.addon_roles

  name            = "${var.name}-${each.key}"
  policy_name     = "${var.name}-${each.key}"
  use_name_prefix = false

  attach_vpc_cni_policy = each.value.vpc_cni
  vpc_cni_enable_ipv4   = each.value.vpc_cni
  attach_ebs_csi_policy = each.value.ebs_csi
  ebs_csi_kms_cmk_arns  = each.value.volume_keys

  oidc_providers = {
    cluster = {
      provider_arn               = module.eks.oidc_provider_arn
      namespace_service_accounts = each.value.service_accounts
    }
  }
}
