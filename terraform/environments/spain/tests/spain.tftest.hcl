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

run "spain_is_eu_south_2_and_controls_mexico_and_nobody_controls_it" {
  assert {
    condition     = output.facts.region == "eu-south-2" && output.settings.tags.DataResidency == "EU" && output.settings.vpc.cidr == "10.10.0.0/16"
    error_message = "Spain is not in the region that its law requires."
  }

  assert {
    condition     = output.facts.cluster_name == "payment-latency-api-spain" && output.facts.host == "spain.pay.example.com" && output.facts.api_key_secret == "payment-latency-api/production/api-key"
    error_message = "A name that later phases rely on has changed."
  }

  assert {
    condition     = join(",", output.settings.trust["argocd"]) == "argocd:argocd-application-controller,argocd:argocd-server"
    error_message = "Something other than Argo CD may assume its role."
  }

  assert {
    condition     = jsonencode(local.control_policy.Statement[0].Resource) == jsonencode(["arn:aws:iam::111122223333:role/payment-latency-api-mexico-deployer"]) && jsonencode(local.control_policy.Statement[0].Action) == jsonencode(["sts:AssumeRole"]) && length(local.control_policy.Statement) == 1
    error_message = "Argo CD may do more than assume the role of Mexico's deployer."
  }

  assert {
    condition     = length(aws_iam_role.deployer) == 0 && !contains(keys(output.settings.access_entries), "deployer")
    error_message = "Another region may deploy to this one."
  }

  assert {
    condition     = join(",", output.settings.eks.endpoint_public_access_cidrs) == "203.0.113.0/24"
    error_message = "The API can be reached by others than the operators."
  }
}

run "addresses_of_another_region_are_refused" {
  command         = plan
  expect_failures = [var.control_addresses]
  variables { control_addresses = ["198.51.100.7"] }
}
