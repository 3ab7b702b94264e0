mock_provider "aws" {
  source = "../../testing/aws"
}

# The database's public module needs one more provider, for the name of the final snapshot.
override_module {
  target = module.rds
  outputs = {
    db_instance_identifier             = "database"
    db_instance_address                = "database.example.com"
    db_instance_master_user_secret_arn = "arn:aws:secretsmanager:mock-region-1:111122223333:secret:master"
  }
}

variables {
  name               = "payment-latency-api-spain"
  vpc_id             = "vpc-1"
  subnet_ids         = ["subnet-a", "subnet-b", "subnet-c"]
  subnet_group_name  = "payment-latency-api-spain"
  alarm_topic_arn    = "arn:aws:sns:eu-south-2:111122223333:alerts"
  backup_window      = "02:00-03:00"
  maintenance_window = "sun:04:30-sun:05:30"
  client_security_groups = {
    nodes    = "sg-nodes"
    rotation = "sg-rotation"
  }
  login_secret_arns = {
    a = "arn:aws:secretsmanager:eu-south-2:111122223333:secret:login-a"
    b = "arn:aws:secretsmanager:eu-south-2:111122223333:secret:login-b"
  }
  key_arns = {
    database = "arn:aws:kms:eu-south-2:111122223333:key/database"
    secrets  = "arn:aws:kms:eu-south-2:111122223333:key/secrets"
    logs     = "arn:aws:kms:eu-south-2:111122223333:key/logs"
  }
}

run "the_database_is_private_and_encrypted" {
  # CreateDBInstance: 1 to 16 letters, numbers or underscores; rdsadmin is taken.
  assert {
    condition     = can(regex("^[a-z][a-z0-9_]{0,15}$", output.settings.username)) && output.settings.username != "rdsadmin"
    error_message = "RDS refuses this name for a master user."
  }

  assert {
    condition     = !output.settings.publicly_accessible
    error_message = "The database has a public address."
  }

  assert {
    condition     = output.settings.storage_encrypted && output.settings.storage_key == var.key_arns.database
    error_message = "Storage is not encrypted with the database's key."
  }

  assert {
    condition     = output.parameters["rds.force_ssl"] == "1"
    error_message = "The database accepts sessions without TLS."
  }
}

run "each_key_is_used_for_what_it_is_for" {
  command = plan

  assert {
    condition     = output.settings.insights_key == var.key_arns.database && [output.settings.log_key, output.proxy.log_group_kms_key_id] == [var.key_arns.logs, var.key_arns.logs]
    error_message = "Insights or logs are not encrypted with their own key."
  }

  assert {
    condition     = join(",", output.proxy.kms_key_arns) == var.key_arns.secrets
    error_message = "The proxy cannot read its logins' secrets, or can read more than these."
  }

  assert {
    condition     = output.settings.log_retention == 365 && output.proxy.log_group_retention_in_days == 365
    error_message = "A log is not kept for a year."
  }
}

run "database_and_proxy_stand_behind_their_own_doors" {
  assert {
    condition     = join(",", output.settings.vpc_security_group_ids) == aws_security_group.database.id && join(",", output.proxy.vpc_security_group_ids) == aws_security_group.proxy.id
    error_message = "The database or the proxy does not have its own security group: the network's default group allows nothing."
  }

  assert {
    condition     = output.settings.db_subnet_group_name == var.subnet_group_name && join(",", output.proxy.vpc_subnet_ids) == join(",", var.subnet_ids)
    error_message = "The database or the proxy is not in the database's subnets."
  }
}

run "nothing_but_clients_and_the_proxy_reaches_port_5432" {
  command = plan

  assert {
    condition = alltrue([for rule in aws_vpc_security_group_ingress_rule.door :
      rule.from_port == 5432 && rule.to_port == 5432 && rule.cidr_ipv4 == null && rule.cidr_ipv6 == null
    ])
    error_message = "A rule allows addresses instead of security groups, or another port."
  }

  assert {
    condition     = toset(keys(aws_vpc_security_group_ingress_rule.door)) == toset(["proxy-nodes", "proxy-rotation", "database-nodes", "database-rotation", "database-proxy"])
    error_message = "A rule is missing, or one is open that nothing needs."
  }

  assert {
    condition     = aws_vpc_security_group_egress_rule.proxy.cidr_ipv4 == null && aws_vpc_security_group_egress_rule.proxy.to_port == 5432
    error_message = "The proxy can connect to more than the database."
  }
}

run "a_crash_of_one_zone_loses_nothing" {
  command = plan

  assert {
    condition     = output.settings.multi_az && output.parameters["synchronous_commit"] == "on"
    error_message = "A committed payment could be lost with its zone."
  }
}

run "backups_are_kept_and_deletion_is_refused" {
  command = plan

  assert {
    condition     = output.settings.backup_retention_period == 35 && !output.settings.delete_automated_backups
    error_message = "Backups are not kept for 35 days."
  }

  assert {
    condition     = output.settings.deletion_protection && !output.settings.skip_final_snapshot
    error_message = "The database could be deleted by mistake, without a final snapshot."
  }

  assert {
    condition     = output.settings.copy_tags_to_snapshot
    error_message = "Snapshots would not be tagged with the law of their data (DataResidency)."
  }

  assert {
    condition     = toset(output.settings.log_exports) == toset(["postgresql", "upgrade"])
    error_message = "The database's logs are not kept."
  }
}

run "it_is_postgresql_17_on_gp3_and_not_burstable" {
  command = plan

  assert {
    condition     = startswith(output.settings.engine_version, "17") && output.settings.family == "postgres17"
    error_message = "The engine is not PostgreSQL 17."
  }

  assert {
    condition     = output.settings.storage_type == "gp3" && output.settings.allocated_storage >= 400
    error_message = "Storage is not gp3 with 12,000 operations a second."
  }
}

run "a_burstable_instance_is_refused" {
  command         = plan
  expect_failures = [var.instance_class]
  variables { instance_class = "db.t4g.medium" }
}

run "little_storage_is_refused" {
  command         = plan
  expect_failures = [var.allocated_storage_gib]
  variables { allocated_storage_gib = 100 }
}

run "another_major_version_is_refused" {
  command         = plan
  expect_failures = [var.engine_version]
  variables { engine_version = "16.4" }
}

run "the_proxy_demands_tls_and_passwords_of_both_logins" {
  command = plan

  assert {
    condition     = output.proxy.require_tls
    error_message = "The proxy accepts sessions without TLS."
  }

  assert {
    condition     = tomap({ for login, auth in output.proxy.auth : login => auth.secret_arn }) == var.login_secret_arns
    error_message = "The proxy does not know exactly the two logins: after a rotation it would refuse the new one."
  }

  assert {
    condition     = alltrue([for auth in output.proxy.auth : auth.iam_auth == "DISABLED" && auth.client_password_auth_type == "POSTGRES_SCRAM_SHA_256"])
    error_message = "A login uses something other than SCRAM."
  }

  assert {
    condition     = output.proxy.idle_client_timeout == 1800 && output.proxy.max_connections_percent <= 90
    error_message = "The proxy's limits are not those that the service is built for, or leave no connections for the owner."
  }
}

run "one_login_alone_is_refused" {
  command         = plan
  expect_failures = [var.login_secret_arns]
  variables { login_secret_arns = { a = "arn:aws:secretsmanager:eu-south-2:111122223333:secret:login-a" } }
}

run "the_master_password_is_managed_and_never_ours" {
  command = plan

  assert {
    condition     = output.settings.manage_master_user_password && output.settings.master_user_secret_key == var.key_arns.secrets
    error_message = "RDS does not encrypt the master password with the secrets' key."
  }

  assert {
    condition     = !output.settings.iam_database_authentication_enabled
    error_message = "There is a second way to log in."
  }
}

run "insights_and_alarms_are_on" {
  command = plan

  assert {
    condition     = output.settings.database_insights_mode == "advanced" && output.settings.performance_insights_enabled && output.settings.insights_retention == 465
    error_message = "Advanced insights need 465 days."
  }

  assert {
    condition = alltrue([for alarm in aws_cloudwatch_metric_alarm.database :
      toset(alarm.alarm_actions) == toset([var.alarm_topic_arn]) && length(alarm.alarm_description) > 0
    ])
    error_message = "An alarm notifies nobody, or does not say what it means."
  }

  assert {
    condition     = length(output.alarm_names) == 11
    error_message = "An alarm is missing."
  }
}

run "alarms_look_where_the_figure_is_and_for_as_long_as_it_takes" {
  assert {
    condition = alltrue([for name, alarm in aws_cloudwatch_metric_alarm.database : alarm.dimensions == (
      startswith(name, "proxy-") ? tomap({ ProxyName = output.proxy.name }) : tomap({ DBInstanceIdentifier = module.rds.db_instance_identifier })
    )])
    error_message = "An alarm looks at something other than the database or its proxy."
  }

  assert {
    condition     = toset([for name, alarm in aws_cloudwatch_metric_alarm.database : name if alarm.treat_missing_data == "notBreaching"]) == toset(["proxy-borrow", "proxy-login", "proxy-pinned"])
    error_message = "A database without data would count as healthy, or a proxy that has nothing to count as unhealthy."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.database["cpu"].treat_missing_data == "breaching"
    error_message = "Nobody is notified of a database that reports nothing."
  }

  # CloudWatch refuses to look back for longer than a day.
  assert {
    condition = alltrue([for alarm in aws_cloudwatch_metric_alarm.database :
      alarm.period * alarm.evaluation_periods <= 86400 && alarm.datapoints_to_alarm <= alarm.evaluation_periods
    ])
    error_message = "An alarm looks back for longer than CloudWatch allows, or needs more data points than it looks at."
  }

  assert {
    condition = alltrue([for alarm in [aws_cloudwatch_metric_alarm.database["proxy-login"]] :
      alarm.statistic == "Sum" && alarm.period == 300 && alarm.evaluation_periods == 1 && alarm.datapoints_to_alarm == 1
    ])
    error_message = "A single refused login would be averaged out by successful ones."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.database["transaction-ids"].metric_name == "MaximumUsedTransactionIDs" && aws_cloudwatch_metric_alarm.database["transaction-ids"].threshold == 500000000
    error_message = "Nobody is notified before transaction IDs run out."
  }

  assert {
    condition     = aws_cloudwatch_metric_alarm.database["proxy-pinned"].metric_name == "DatabaseConnectionsCurrentlySessionPinned" && aws_cloudwatch_metric_alarm.database["proxy-pinned"].threshold == 0
    error_message = "Nobody is notified that sessions are pinned."
  }
}

run "storage_that_grows_by_itself_is_no_alarm" {
  command = plan

  variables { allocated_storage_gib = 8192 }

  # Storage grows once less than a tenth of it is free.
  assert {
    condition = alltrue([for share in [aws_cloudwatch_metric_alarm.database["storage"].threshold / (8192 * 1024 * 1024 * 1024)] :
      share > 0.05 && share < 0.1
    ])
    error_message = "The alarm's threshold is not a share of the storage, or it fires whenever storage grows."
  }
}

run "what_aws_says_of_the_database_goes_where_alarms_go" {
  assert {
    condition = (
      aws_db_event_subscription.database.sns_topic == var.alarm_topic_arn && aws_db_event_subscription.database.source_type == "db-instance" &&
      aws_db_event_subscription.database.source_ids == toset([module.rds.db_instance_identifier])
    )
    error_message = "Events of the database go to another topic, or are those of another database."
  }

  assert {
    condition     = aws_db_event_subscription.database.event_categories == toset(["availability", "failover", "failure", "low storage", "maintenance", "notification", "recovery"])
    error_message = "A kind of event is missing."
  }
}

run "the_windows_are_those_that_were_asked_for" {
  command = plan

  assert {
    condition     = output.settings.backup_window == var.backup_window && output.settings.maintenance_window == var.maintenance_window
    error_message = "The database is backed up or patched at another time."
  }
}

run "a_window_that_rds_would_refuse_is_refused" {
  command         = plan
  expect_failures = [var.backup_window, var.maintenance_window]
  variables {
    backup_window      = "2:00-3:00"
    maintenance_window = "Sunday:04:30-Sunday:05:30"
  }
}

run "standard_insights_keep_seven_days" {
  command = plan

  variables { insights_mode = "standard" }

  assert {
    condition     = output.settings.insights_retention == 7
    error_message = "Standard insights keep 7 days."
  }
}
