mock_provider "aws" {
  source = "../../testing/aws"
}

# The cluster's public module waits, fetches certificates and needs four more providers. validate checks its inputs all
# the same.
override_module {
  target = module.eks
  outputs = {
    cluster_endpoint                   = "https://cluster.example.com"
    cluster_certificate_authority_data = "Y2E="
    node_security_group_id             = "sg-nodes"
    oidc_provider_arn                  = "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/id/1"
  }
}

variables {
  name               = "payment-latency-api-spain"
  kubernetes_version = "1.35"
  addon_versions = {
    vpc-cni            = "v1.21.1-eksbuild.3"
    coredns            = "v1.13.2-eksbuild.1"
    kube-proxy         = "v1.35.0-eksbuild.2"
    aws-ebs-csi-driver = "v1.54.0-eksbuild.1"
    metrics-server     = "v0.8.0-eksbuild.6"
  }
  vpc_id             = "vpc-1"
  subnet_ids         = ["subnet-a", "subnet-b", "subnet-c"]
  availability_zones = ["eu-south-2a", "eu-south-2b", "eu-south-2c"]
  api_allowed_cidrs  = ["203.0.113.0/24"]
  administrators     = { operator = "arn:aws:iam::111122223333:role/operator" }
  key_arns = {
    cluster = "arn:aws:kms:eu-south-2:111122223333:key/cluster"
    nodes   = "arn:aws:kms:eu-south-2:111122223333:key/nodes"
    logs    = "arn:aws:kms:eu-south-2:111122223333:key/logs"
  }
}

run "the_api_is_for_the_listed_networks" {
  assert {
    condition     = output.settings.endpoint_private_access && output.settings.endpoint_public_access_cidrs == tolist(["203.0.113.0/24"])
    error_message = "The API is not restricted to the private network and the listed networks."
  }
}

run "the_whole_internet_is_refused" {
  command         = plan
  expect_failures = [var.api_allowed_cidrs]
  variables { api_allowed_cidrs = ["203.0.113.0/24", "0.0.0.0/0"] }
}

run "no_network_at_all_is_refused" {
  command         = plan
  expect_failures = [var.api_allowed_cidrs]
  variables { api_allowed_cidrs = [] }
}

run "secrets_volumes_and_logs_are_encrypted_by_their_own_keys" {
  command = plan

  assert {
    condition     = output.settings.encryption_config.provider_key_arn == var.key_arns.cluster && contains(output.settings.encryption_config.resources, "secrets")
    error_message = "Secrets are not encrypted in etcd with the cluster's key."
  }

  assert {
    condition = alltrue([for group in output.node_groups :
      group.block_device_mappings.root.ebs.encrypted &&
      group.block_device_mappings.root.ebs.kms_key_id == var.key_arns.nodes &&
      group.block_device_mappings.root.ebs.volume_type == "gp3"
    ])
    error_message = "A node's volume is not an encrypted gp3 volume."
  }

  assert {
    condition     = output.settings.log_key == var.key_arns.logs && length(output.settings.enabled_log_types) == 5
    error_message = "A control plane log is missing or not encrypted."
  }
}

run "pods_cannot_ask_for_the_nodes_credentials" {
  command = plan

  assert {
    condition     = alltrue([for group in output.node_groups : group.metadata_options.http_tokens == "required" && group.metadata_options.http_put_response_hop_limit == 1])
    error_message = "A node's metadata service answers IMDSv1, or pods."
  }

  assert {
    condition     = alltrue([for group in output.node_groups : !group.iam_role_attach_cni_policy])
    error_message = "Nodes have the permissions of the network plug-in."
  }
}

run "machines_and_volumes_that_terraform_does_not_make_have_the_tags_too" {
  command = plan

  variables { tags = { DataResidency = "EU" } }

  assert {
    condition     = alltrue([for group in output.node_groups : group.launch_template_tags == tomap({ DataResidency = "EU" })])
    error_message = "Nodes and their volumes are not tagged with their law (DataResidency)."
  }

  assert {
    condition     = jsondecode(output.addons["aws-ebs-csi-driver"].configuration_values).controller.extraVolumeTags == { DataResidency = "EU" }
    error_message = "Volumes of claims are not tagged with their law (DataResidency)."
  }
}

run "only_named_identities_enter" {
  command = plan

  assert {
    condition     = output.settings.irsa && output.settings.support_type == "STANDARD"
    error_message = "Pods cannot assume roles, or the cluster would enter extended support."
  }

  assert {
    condition     = output.settings.authentication_mode == "API" && !output.settings.enable_cluster_creator_admin_permissions
    error_message = "Somebody can enter the cluster without an access entry."
  }

  assert {
    condition     = join(",", keys(output.access_entries)) == "administrator-operator"
    error_message = "There is an access entry that was not requested."
  }

  assert {
    condition     = output.access_entries["administrator-operator"].principal_arn == var.administrators.operator
    error_message = "The administrators are not those that were given."
  }
}

run "the_deployer_is_a_group_without_policies_of_aws" {
  command = plan

  variables { deployer = { arn = "arn:aws:iam::111122223333:role/deployer" } }

  assert {
    condition     = output.access_entries.deployer.kubernetes_groups[0] == "payment-latency-api:deployers" && length(output.access_entries.deployer.policy_associations) == 0
    error_message = "The deployer has more than its Kubernetes group."
  }
}

run "a_group_of_kubernetes_own_is_refused_for_the_deployer" {
  command         = plan
  expect_failures = [var.deployer_group]
  variables { deployer_group = "system:masters" }
}

run "add_ons_and_controllers_have_nodes_of_their_own" {
  command = plan

  assert {
    condition     = output.node_groups.system.min_size == 2 && output.node_groups.system.taints.system == { key = "CriticalAddonsOnly", value = "true", effect = "NO_SCHEDULE" }
    error_message = "There are not two system nodes with their taint."
  }

  assert {
    condition     = output.node_groups.system.desired_size == 2 && output.node_groups.system.labels == { workload = "system" }
    error_message = "The add-ons' node selector would not find the system nodes."
  }

  assert {
    condition     = output.node_groups.system.subnet_ids == tolist(["subnet-a", "subnet-b"])
    error_message = "Prometheus' volume could be in a zone without a system node."
  }

  assert {
    condition     = jsondecode(output.addons["aws-ebs-csi-driver"].configuration_values).node.tolerateAllTaints
    error_message = "A tainted node could mount no volume."
  }

  assert {
    condition = alltrue([for addon in ["coredns", "metrics-server"] :
      jsondecode(output.addons[addon].configuration_values).tolerations[0].key == "CriticalAddonsOnly"
    ])
    error_message = "An add-on does not tolerate the system nodes' taint: it would stay pending."
  }

  assert {
    condition     = jsondecode(output.addons["aws-ebs-csi-driver"].configuration_values).controller.tolerations[0].key == "CriticalAddonsOnly"
    error_message = "The EBS controller does not tolerate the system nodes' taint."
  }
}

run "application_nodes_are_labelled_tainted_and_one_group_a_zone" {
  command = plan

  assert {
    condition = alltrue([for zone in var.availability_zones :
      output.node_groups["app-${zone}"].labels == { workload = "application" } &&
      output.node_groups["app-${zone}"].taints.application == { key = "workload", value = "application", effect = "NO_SCHEDULE" }
    ])
    error_message = "The chart's node selector or toleration would not find the application nodes."
  }

  assert {
    condition     = join(" ", flatten([for zone in var.availability_zones : output.node_groups["app-${zone}"].subnet_ids])) == "subnet-a subnet-b subnet-c"
    error_message = "A zone's node group is not in that zone's subnet."
  }
}

run "two_to_six_application_nodes" {
  command = plan

  assert {
    condition     = [for zone in var.availability_zones : output.node_groups["app-${zone}"].min_size] == [1, 1, 0]
    error_message = "A minimum of two nodes does not give two."
  }

  assert {
    condition     = [for zone in var.availability_zones : output.node_groups["app-${zone}"].max_size] == [2, 2, 2]
    error_message = "A maximum of six nodes does not give six."
  }
}

run "production_has_one_application_node_a_zone" {
  command = plan

  variables { application_nodes = { min = 3, max = 5, instance_types = ["c7i.large"] } }

  assert {
    condition     = [for zone in var.availability_zones : output.node_groups["app-${zone}"].min_size] == [1, 1, 1]
    error_message = "A zone has no application node."
  }

  assert {
    condition     = [for zone in var.availability_zones : output.node_groups["app-${zone}"].max_size] == [2, 2, 1]
    error_message = "A maximum of five nodes does not give five."
  }
}

run "one_application_node_is_refused" {
  command         = plan
  expect_failures = [var.application_nodes]
  variables { application_nodes = { min = 1, max = 6, instance_types = ["c7i.large"] } }
}

run "seven_application_nodes_are_refused" {
  command         = plan
  expect_failures = [var.application_nodes]
  variables { application_nodes = { min = 3, max = 7, instance_types = ["c7i.large"] } }
}

run "add_ons_are_pinned_and_network_policies_enforced" {
  command = plan

  assert {
    condition     = alltrue([for name, addon in output.addons : addon.addon_version == var.addon_versions[name] && !addon.most_recent])
    error_message = "An add-on's version is not the one that was requested."
  }

  assert {
    condition     = jsondecode(output.addons["vpc-cni"].configuration_values).enableNetworkPolicy == "true" && output.addons["vpc-cni"].before_compute
    error_message = "Network policies would not be enforced from the first node on."
  }

  assert {
    condition     = output.addons["kube-proxy"].before_compute
    error_message = "Pods of the first nodes would not find the API behind its Service."
  }

  assert {
    condition     = alltrue([for group in output.node_groups : !group.use_latest_ami_release_version])
    error_message = "An apply for something else would replace every node."
  }

  assert {
    condition = { for addon, role in output.addon_roles : addon => join(",", role.service_accounts) } == {
      vpc-cni = "kube-system:aws-node", aws-ebs-csi-driver = "kube-system:ebs-csi-controller-sa"
    }
    error_message = "An add-on's role is not for its ServiceAccount."
  }

  assert {
    condition = alltrue([for addon, role in output.addon_roles :
      role.vpc_cni == (addon == "vpc-cni") && role.ebs_csi == (addon == "aws-ebs-csi-driver")
    ])
    error_message = "An add-on's role has the wrong policy, or none."
  }

  assert {
    condition     = [for addon in ["vpc-cni", "aws-ebs-csi-driver"] : join(",", output.addon_roles[addon].volume_keys)] == ["", var.key_arns.nodes]
    error_message = "The EBS driver cannot use the volumes' key, or uses another key."
  }
}

run "a_vague_add_on_version_is_refused" {
  command         = plan
  expect_failures = [var.addon_versions]
  variables {
    addon_versions = {
      vpc-cni            = "latest"
      coredns            = "v1.13.2-eksbuild.1"
      kube-proxy         = "v1.35.0-eksbuild.2"
      aws-ebs-csi-driver = "v1.54.0-eksbuild.1"
      metrics-server     = "v0.8.0-eksbuild.6"
    }
  }
}

run "an_administrator_named_twice_is_refused" {
  command         = plan
  expect_failures = [var.administrators]
  variables { administrators = { one = "arn:aws:iam::111122223333:role/operator", two = "arn:aws:iam::111122223333:role/operator" } }
}

run "the_cluster_refuses_to_be_deleted" {
  command = plan

  assert {
    condition     = output.settings.deletion_protection
    error_message = "The cluster can be deleted by mistake."
  }
}
