mock_provider "aws" {
  source = "../../testing/aws"
}

# The cluster's public module waits, fetches certificates and needs four more providers. validate checks its inputs all
# the same.
override_module {
  target = module.eks.module.eks
  outputs = {
    cluster_endpoint                   = "https://cluster.example.com"
    cluster_certificate_authority_data = "Y2E="
    node_security_group_id             = "sg-nodes"
    oidc_provider_arn                  = "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/id/1"
  }
}

# The database's public module needs one more provider, for the name of the final snapshot.
override_module {
  target = module.rds.module.rds
  outputs = {
    db_instance_identifier             = "database"
    db_instance_address                = "database.example.com"
    db_instance_master_user_secret_arn = "arn:aws:secretsmanager:mock-region-1:111122223333:secret:master"
  }
}

# The cluster's public module makes an access entry for each key of this map, so the keys must be known before any role
# has an ARN.
run "who_enters_is_known_before_the_first_apply" {
  command = plan

  assert {
    condition     = join(" ", keys(output.settings.access_entries)) == "administrator-operator deployer"
    error_message = "Others than the operators and the deployer can enter the cluster."
  }
}

run "mexico_is_us_east_1_and_spain_s_argocd_alone_deploys_to_it_as_a_group_without_policies" {
  assert {
    condition     = output.facts.region == "us-east-1" && output.settings.tags.DataResidency == "MX" && output.settings.vpc.cidr == "10.20.0.0/16"
    error_message = "Mexico is not in the region that is set for its law."
  }

  assert {
    condition     = output.facts.cluster_name == "payment-latency-api-mexico" && output.facts.host == "mexico.pay.example.com" && output.facts.api_key_secret == "payment-latency-api/production/api-key"
    error_message = "A name that later phases rely on has changed."
  }

  assert {
    condition     = length(local.deployer_trust.Statement) == 1 && local.deployer_trust.Statement[0].Condition.ArnEquals["aws:PrincipalArn"] == "arn:aws:iam::111122223333:role/payment-latency-api-spain-argocd"
    error_message = "Something other than Argo CD may assume the deployer's role."
  }

  assert {
    condition     = jsondecode(aws_iam_role.deployer[0].assume_role_policy) == local.deployer_trust && aws_iam_role.deployer[0].name == "payment-latency-api-mexico-deployer"
    error_message = "The role is not the one that Spain may assume."
  }

  assert {
    condition     = !contains(keys(output.settings.roles), "argocd")
    error_message = "Argo CD has a role in this region, where it does not run."
  }

  assert {
    condition     = length(output.settings.access_entries.deployer.policy_associations) == 0 && join(",", output.settings.access_entries.deployer.kubernetes_groups) == "payment-latency-api:deployers"
    error_message = "The deployer has permissions that the project's RBAC does not give."
  }

  assert {
    condition     = join(" ", output.settings.eks.endpoint_public_access_cidrs) == "203.0.113.0/24 198.51.100.7/32 198.51.100.8/32 198.51.100.9/32"
    error_message = "The API can be reached by others, or not by Argo CD."
  }
}

run "without_spain_s_addresses_it_is_refused" {
  command         = plan
  expect_failures = [var.control_addresses]
  variables { control_addresses = [] }
}
