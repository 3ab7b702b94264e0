mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  name       = "payment-latency-api-spain"
  package    = "../../testing/empty.zip"
  region     = "eu-south-2"
  account_id = "111122223333"
  secret_arns = {
    api-key          = "arn:aws:secretsmanager:eu-south-2:111122223333:secret:api-key"
    database         = "arn:aws:secretsmanager:eu-south-2:111122223333:secret:database"
    database-owner   = "arn:aws:secretsmanager:eu-south-2:111122223333:secret:owner"
    database-login-a = "arn:aws:secretsmanager:eu-south-2:111122223333:secret:login-a"
    database-login-b = "arn:aws:secretsmanager:eu-south-2:111122223333:secret:login-b"
  }
  master_secret_arn = "arn:aws:secretsmanager:eu-south-2:111122223333:secret:master"
  subnet_ids        = ["subnet-a", "subnet-b", "subnet-c"]
  security_group_id = "sg-rotation"
  alarm_topic_arn   = "arn:aws:sns:eu-south-2:111122223333:alerts"
  key_arns = {
    secrets = "arn:aws:kms:eu-south-2:111122223333:key/secrets"
    logs    = "arn:aws:kms:eu-south-2:111122223333:key/logs"
  }
}

run "the_current_login_and_the_owner_rotate_weekly_from_the_start" {
  assert {
    condition     = { for name, rotation in aws_secretsmanager_secret_rotation.this : name => rotation.secret_id } == { for name in ["database", "database-owner"] : name => var.secret_arns[name] }
    error_message = "The wrong secrets rotate."
  }

  assert {
    condition     = alltrue([for rotation in aws_secretsmanager_secret_rotation.this : rotation.rotation_rules[0].automatically_after_days == 7 && rotation.rotate_immediately])
    error_message = "A secret does not rotate every week, beginning now."
  }
}

run "the_function_reads_and_writes_its_secrets_alone" {
  command = plan

  assert {
    condition     = !strcontains(jsonencode(output.policy), var.secret_arns["api-key"])
    error_message = "The function can read the API key."
  }

  assert {
    condition     = alltrue([for statement in output.policy.Statement : statement.Sid == "MakePassword" || !contains(statement.Resource, "*")])
    error_message = "A statement allows every resource."
  }

  assert {
    condition     = alltrue(flatten([for statement in output.policy.Statement : [for action in statement.Action : !endswith(action, "*")]]))
    error_message = "A statement allows a pattern of actions."
  }

  assert {
    condition     = alltrue([for statement in output.policy.Statement : statement.Action == ["secretsmanager:GetSecretValue"] if contains(statement.Resource, var.master_secret_arn)])
    error_message = "The function may do more with the master password than read it."
  }
}

run "only_secrets_manager_of_this_account_calls_it" {
  command = plan

  assert {
    condition = alltrue([for permission in aws_lambda_permission.secrets_manager :
      permission.principal == "secretsmanager.amazonaws.com" && permission.source_account == var.account_id &&
      contains([var.secret_arns["database"], var.secret_arns["database-owner"]], permission.source_arn)
    ])
    error_message = "Something other than this account's Secrets Manager may call the function."
  }
}

run "it_may_run_for_longer_than_it_tries_a_new_login" {
  command = plan

  # A trial that begins at the last moment may take one more connection time-out.
  assert {
    condition     = aws_lambda_function.this.timeout >= tonumber(regex("TRIAL_S, TRIAL_PAUSE_S = ([0-9]+), ", file("function/rotate.py"))[0]) + 15
    error_message = "Lambda would end the function before it reports why a login fails."
  }
}

run "somebody_is_told_of_a_rotation_that_failed" {
  assert {
    condition = toset([for alarm in aws_cloudwatch_metric_alarm.this : alarm.metric_name]) == toset(["Errors", "Throttles"]) && alltrue([
      for alarm in aws_cloudwatch_metric_alarm.this :
      alarm.dimensions.FunctionName == output.function_name && alarm.statistic == "Sum" && alarm.threshold == 0 &&
      toset(alarm.alarm_actions) == toset([var.alarm_topic_arn])
    ])
    error_message = "A rotation could fail without anybody being notified."
  }
}

run "a_rotation_that_failed_is_seen_for_a_day" {
  assert {
    condition = alltrue([for alarm in aws_cloudwatch_metric_alarm.this :
      alarm.period * alarm.evaluation_periods == 86400 && alarm.datapoints_to_alarm == 1
    ])
    error_message = "The alarm does not stay on for a day, or CloudWatch refuses it: an alarm looks back for at most a day."
  }
}

run "a_topic_that_is_none_is_refused" {
  command         = plan
  expect_failures = [var.alarm_topic_arn]
  variables { alarm_topic_arn = "alerts" }
}

run "it_runs_inside_the_network_and_its_log_is_encrypted" {
  command = plan

  assert {
    condition     = toset(aws_lambda_function.this.vpc_config[0].subnet_ids) == toset(var.subnet_ids) && aws_cloudwatch_log_group.this.kms_key_id == var.key_arns.logs
    error_message = "The function does not run in its subnets, or its log is not encrypted."
  }
}

run "a_package_that_is_no_zip_is_refused" {
  command         = plan
  expect_failures = [var.package]
  variables { package = "rotate.py" }
}
