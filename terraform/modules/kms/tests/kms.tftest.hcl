mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  name       = "payment-latency-api-spain"
  region     = "eu-south-2"
  account_id = "111122223333"
  purposes   = ["cluster", "nodes", "database", "secrets", "logs", "audit", "images", "alerts"]
}

run "every_purpose_has_a_key_of_its_own_that_rotates" {
  command = plan

  assert {
    condition     = toset(keys(output.settings)) == var.purposes && toset(keys(output.arns)) == var.purposes
    error_message = "A purpose has no key."
  }

  assert {
    condition     = alltrue([for key in output.settings : key.enable_key_rotation && key.rotation_period_in_days <= 365])
    error_message = "A key does not rotate every year."
  }

  assert {
    condition     = alltrue([for key in output.settings : key.deletion_window_in_days == 30])
    error_message = "A key could be deleted before anybody notices."
  }
}

run "no_key_leaves_its_region" {
  command = plan

  assert {
    condition     = alltrue([for key in output.settings : !key.multi_region])
    error_message = "A multi-region key could decrypt this region's data elsewhere."
  }
}

run "services_use_keys_for_this_account_alone" {
  command = plan

  assert {
    condition     = alltrue(flatten([for key in output.settings : [for statement in key.key_statements : length(statement.condition) > 0]]))
    error_message = "A service may use a key without a condition."
  }

  assert {
    condition = alltrue(flatten([for key in output.settings : [for statement in key.key_statements : [
      for condition in statement.condition : strcontains(join(",", condition.values), var.account_id)
    ]]]))
    error_message = "A condition names another account, or none."
  }

  assert {
    condition = alltrue(flatten([for key in output.settings : [for statement in key.key_statements : [
      for principal in statement.principals : principal.type == "Service"
    ]]]))
    error_message = "A statement allows something other than a service."
  }

  assert {
    condition     = !strcontains(jsonencode([for key in output.settings : key.key_statements]), "kms:*")
    error_message = "A service may use every action on a key."
  }
}

run "the_account_s_own_iam_and_the_services_that_take_a_key_may_use_it" {
  command = plan

  # Without it nobody could use a key, or repair its policy.
  assert {
    condition     = alltrue([for key in output.settings : key.enable_default_policy])
    error_message = "A key's policy does not allow the account's own IAM."
  }

  assert {
    condition     = { for purpose, key in output.settings : purpose => length(key.key_statements) if length(key.key_statements) > 0 } == { logs = 1, audit = 1, alerts = 2 }
    error_message = "A service cannot use its key, or may use a key that is not for it."
  }

  assert {
    condition     = join(",", flatten([for principal in output.settings["logs"].key_statements[0].principals : principal.identifiers])) == "logs.eu-south-2.amazonaws.com"
    error_message = "CloudWatch could not encrypt the logs, or another region's could."
  }

  assert {
    condition = { for purpose, key in output.settings : purpose => join(",", key.autoscaling_roles) if length(key.autoscaling_roles) > 0 } == {
      nodes = "arn:aws:iam::111122223333:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"
    }
    error_message = "Auto Scaling could not start nodes, or may use a key that is not for it."
  }
}

run "who_publishes_to_the_topic_may_encrypt_for_it" {
  command = plan

  assert {
    condition = toset(flatten([for statement in output.settings["alerts"].key_statements : [
      for principal in statement.principals : principal.identifiers
    ]])) == toset(["cloudwatch.amazonaws.com", "events.rds.amazonaws.com"])
    error_message = "Alarms or the database's events could not be encrypted, and would be lost."
  }

  assert {
    condition = alltrue([for statement in output.settings["alerts"].key_statements :
      toset(statement.actions) == toset(["kms:Decrypt", "kms:GenerateDataKey*"])
    ])
    error_message = "A publisher has fewer permissions on the key than it needs, or more."
  }
}

run "the_trail_may_be_made_over_a_bucket_with_a_bucket_key" {
  command = plan

  assert {
    condition = alltrue([for statement in output.settings["audit"].key_statements :
      toset(statement.actions) == toset(["kms:GenerateDataKey*", "kms:Decrypt", "kms:DescribeKey"]) &&
      statement.condition[0].variable == "aws:SourceArn"
    ]) && length(output.settings["audit"].key_statements) == 1
    error_message = "CloudTrail has fewer permissions on the key than a bucket key needs, or more, or another trail has them."
  }
}

run "a_purpose_that_nobody_knows_is_refused" {
  command         = plan
  expect_failures = [var.purposes]
  variables { purposes = ["everything"] }
}

run "a_malformed_account_is_refused" {
  command         = plan
  expect_failures = [var.account_id]
  variables { account_id = "1111" }
}
