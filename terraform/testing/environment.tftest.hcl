# What must hold in every environment. Each environment's own file tests what is particular to it.

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

# Here each key has an ARN of its own, so that a mix-up of two keys is noticed.

override_module {
  target  = module.kms.module.key["cluster"]
  outputs = { key_arn = "arn:aws:kms:mock-region-1:111122223333:key/cluster" }
}

override_module {
  target  = module.kms.module.key["nodes"]
  outputs = { key_arn = "arn:aws:kms:mock-region-1:111122223333:key/nodes" }
}

override_module {
  target  = module.kms.module.key["alerts"]
  outputs = { key_arn = "arn:aws:kms:mock-region-1:111122223333:key/alerts" }
}

override_module {
  target  = module.kms.module.key["logs"]
  outputs = { key_arn = "arn:aws:kms:mock-region-1:111122223333:key/logs" }
}

override_module {
  target  = module.kms.module.key["database"]
  outputs = { key_arn = "arn:aws:kms:mock-region-1:111122223333:key/database" }
}

override_module {
  target  = module.kms.module.key["secrets"]
  outputs = { key_arn = "arn:aws:kms:mock-region-1:111122223333:key/secrets" }
}

override_module {
  target  = module.kms.module.key["images"]
  outputs = { key_arn = "arn:aws:kms:mock-region-1:111122223333:key/images" }
}

run "data_are_tagged_encrypted_private_and_stay_in_their_region" {
  assert {
    condition     = alltrue([for group in output.settings.node_groups : group.launch_template_tags == tomap(output.settings.tags)])
    error_message = "Instances and their volumes are not tagged."
  }

  assert {
    condition     = toset(keys(output.settings.tags)) == toset(["Project", "Environment", "DataResidency", "ManagedBy"])
    error_message = "A tag is missing."
  }

  assert {
    condition     = output.settings.tags.DataResidency == { "eu-south-2" = "EU", "us-east-1" = "MX" }[var.region] && output.settings.tags.Environment == "production"
    error_message = "A tag is wrong."
  }

  assert {
    condition = { for purpose, used in {
      cluster  = [output.settings.eks.encryption_config.provider_key_arn]
      nodes    = [for group in output.settings.node_groups : group.block_device_mappings.root.ebs.kms_key_id]
      database = [output.settings.rds.storage_key, output.settings.rds.insights_key]
      secrets = concat([output.settings.rds.master_user_secret_key], output.settings.proxy.kms_key_arns, values(module.secrets.keys),
        flatten([for policy in concat(values(local.secret_policies), [output.settings.rotation]) : [
          for statement in policy.Statement : statement.Resource if anytrue([for action in flatten([statement.Action]) : startswith(action, "kms:")])
      ]]))
      logs = [
        output.settings.eks.log_key, output.settings.vpc.flow_log_kms_key, output.settings.rds.log_key,
        output.settings.proxy.log_group_kms_key_id, module.waf.log_key,
      ]
      images = [output.settings.ecr.kms_key]
      alerts = [module.alerts.key]
    } : purpose => join(" ", distinct(used)) } == { for purpose, arn in module.kms.arns : purpose => arn }
    error_message = "Something is not encrypted with the key of this region that is meant for it."
  }

  assert {
    condition     = length(distinct(values(module.kms.arns))) == length(module.kms.arns)
    error_message = "Two keys have the same ARN in this test, so a mix-up of the two would not be noticed."
  }

  assert {
    condition     = output.settings.rds.storage_encrypted && output.settings.proxy.require_tls && output.settings.parameters["rds.force_ssl"] == "1"
    error_message = "The database is not encrypted at rest or in transit."
  }

  assert {
    condition     = !output.settings.rds.publicly_accessible && !output.settings.vpc.create_database_internet_gateway_route && !output.settings.vpc.create_database_nat_gateway_route
    error_message = "The database is reachable from the internet, or reaches it."
  }

  assert {
    condition     = alltrue([for rule in aws_vpc_security_group_egress_rule.rotation : rule.cidr_ipv4 == var.cidr])
    error_message = "The rotation function can connect to something outside the network."
  }

  assert {
    condition     = alltrue([for key in concat(values(output.settings.kms), [output.settings.audit.key]) : !key.multi_region]) && !output.settings.ecr.replication && !output.settings.audit.multi_region
    error_message = "Keys, images or records are replicated to another region."
  }

  assert {
    condition     = output.settings.audit.include_global_service_events == (var.region == "us-east-1")
    error_message = "Global events are not recorded, or are recorded twice."
  }

  # The policies of the application and the rotation name no other region.
  assert {
    condition = !anytrue([for data in fileset("..", "*/terraform.tfvars") :
      strcontains(jsonencode([local.secret_policies, output.settings.rotation]), one(regex("(?m)^region *= *\"([a-z0-9-]+)\"", file("../${data}"))))
      if dirname(data) != var.site
    ])
    error_message = "A policy names another region."
  }

  assert {
    condition     = alltrue([for site in local.managed_sites : length(fileset("..", "${site}/terraform.tfvars")) == 1 && site != local.control_site])
    error_message = "A managed region has no terraform.tfvars, or is the region that Argo CD runs in."
  }

  assert {
    condition     = !contains([for data in fileset("..", "*/terraform.tfvars") : one(regex("(?m)^cidr *= *\"([0-9./]+)\"", file("../${data}"))) if dirname(data) != var.site], var.cidr)
    error_message = "Another region uses the same addresses."
  }

  assert {
    condition     = alltrue([for zone in var.availability_zones : startswith(zone, var.region)])
    error_message = "A zone is in another region."
  }
}

run "production_survives_a_lost_zone_and_a_mistake" {
  command = plan

  assert {
    condition     = alltrue([for zone in var.availability_zones : output.settings.node_groups["app-${zone}"].min_size >= 1])
    error_message = "A zone has no application node."
  }

  assert {
    condition     = output.settings.rds.multi_az && output.settings.vpc.one_nat_gateway_per_az && output.settings.node_groups.system.min_size >= 2
    error_message = "If one zone fails, the database, the way out or the add-ons fail with it."
  }

  assert {
    condition     = sum([for name, group in output.settings.node_groups : group.max_size if name != "system"]) == 6
    error_message = "The application nodes cannot grow to six."
  }

  assert {
    condition     = output.settings.rds.deletion_protection && !output.settings.rds.skip_final_snapshot && output.settings.rds.backup_retention_period == 35
    error_message = "The database could be lost."
  }

  assert {
    condition     = output.settings.eks.deletion_protection && !output.settings.audit.force_destroy && !output.settings.ecr.force_delete
    error_message = "The cluster, the records or the images could be lost."
  }
}

run "the_database_is_patched_in_its_own_hour_and_not_both_regions_on_one_day" {
  command = plan

  assert {
    condition     = output.settings.rds.maintenance_window == var.database_maintenance_window && output.settings.rds.backup_window == var.database_backup_window
    error_message = "The database's windows are not those of the region."
  }

  assert {
    condition = !contains([for data in fileset("..", "*/terraform.tfvars") :
      one(regex("(?m)^database_maintenance_window *= *\"([a-z]{3}):", file("../${data}"))) if dirname(data) != var.site
    ], substr(var.database_maintenance_window, 0, 3))
    error_message = "Both regions could be patched on the same day."
  }

  # The chart's prune job begins at 03:17 (prune.schedule) and has an hour (prune.activeDeadlineSeconds).
  assert {
    condition     = tonumber(replace(substr(var.database_maintenance_window, 4, 5), ":", "")) >= 417
    error_message = "A patch could be applied while old payments are pruned."
  }

  assert {
    condition     = tonumber(replace(substr(var.database_backup_window, 6, 5), ":", "")) <= tonumber(replace(substr(var.database_maintenance_window, 4, 5), ":", ""))
    error_message = "RDS refuses a maintenance window that overlaps the backup window."
  }
}

run "a_database_that_grew_to_its_bound_may_be_given_a_higher_one" {
  command = plan

  variables { database_storage_gib = 800 }

  assert {
    condition     = output.settings.rds.allocated_storage == 800 && output.settings.rds.max_allocated_storage == 3200
    error_message = "The database does not have the storage that the region sets."
  }
}

run "teardown_lifts_the_protection_of_both" {
  command = plan

  variables { deletion_protection = false }

  assert {
    condition     = !output.settings.rds.deletion_protection && !output.settings.eks.deletion_protection
    error_message = "Something would still refuse to be deleted."
  }
}

run "each_role_is_for_its_service_accounts_and_reads_its_own_secrets" {
  command = plan

  assert {
    condition     = join(",", output.settings.trust["application"]) == "payment-latency-api:payment-latency-api" && join(",", output.settings.trust["migrate"]) == "payment-latency-api:payment-latency-api-migrate,payment-latency-api:payment-latency-api-prune"
    error_message = "A role is for ServiceAccounts other than those that the chart's SecretStores name."
  }

  assert {
    condition = alltrue(flatten([for policy in local.secret_policies : [for statement in policy.Statement : concat(
      [for resource in statement.Resource : !endswith(resource, "*")], [for action in statement.Action : !strcontains(action, "*")]
    )]]))
    error_message = "A role can read more than its own secrets."
  }

  assert {
    condition     = join(",", local.reads.application) == "api-key,database" && !contains(local.reads.migrate, "api-key")
    error_message = "The application can read the owner's login, or the migration the API key."
  }
}

run "a_zone_without_rds_proxy_is_refused" {
  command         = plan
  expect_failures = [data.aws_availability_zone.chosen]

  override_data {
    target = data.aws_availability_zone.chosen
    values = { zone_id = "use1-az3" }
  }
}

run "another_regions_law_is_refused" {
  command         = plan
  expect_failures = [var.residency]
  variables { residency = var.region == "eu-south-2" ? "MX" : "EU" }
}

run "an_administrator_of_another_account_is_refused" {
  command         = plan
  expect_failures = [var.administrators]
  variables { administrators = { stranger = "arn:aws:iam::444455556666:role/stranger" } }
}

run "a_domain_outside_the_zone_is_refused" {
  command         = plan
  expect_failures = [var.domain]
  variables { domain = "pay.example.org" }
}

run "two_application_nodes_are_refused_in_production" {
  command         = plan
  expect_failures = [var.application_nodes]
  variables { application_nodes = { min = 2, max = 6, instance_types = ["c7i.large"] } }
}

# The tests of phase 0, which applies these same rules, try more values of the operator's inputs.
run "what_would_open_too_much_or_be_refused_by_aws_is_refused" {
  command = plan
  expect_failures = [
    var.administrators, var.operator_cidrs, var.domain, var.application_nodes,
    var.database_instance_class, var.database_backup_window, var.database_maintenance_window,
  ]
  variables {
    administrators              = { root = "arn:aws:iam::111122223333:root" }
    operator_cidrs              = ["203.0.113.0/24", "0.0.0.0/0"]
    domain                      = "Pay.example.com"
    application_nodes           = { min = 3, max = 7, instance_types = ["c7i.large"] }
    database_instance_class     = "db.t4g.medium"
    database_backup_window      = "25:00-26:00"
    database_maintenance_window = "day:04:30-day:05:30"
  }
}

run "what_is_named_twice_or_seen_by_no_internet_is_refused" {
  command         = plan
  expect_failures = [var.administrators, var.operator_cidrs, var.application_nodes]
  variables {
    administrators    = { one = "arn:aws:iam::111122223333:role/operator", two = "arn:aws:iam::111122223333:role/operator" }
    operator_cidrs    = ["203.0.113.0/24", "172.31.7.0/24"]
    application_nodes = { min = 3, max = 6, instance_types = [] }
  }
}
