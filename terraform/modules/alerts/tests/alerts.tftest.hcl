mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  name               = "payment-latency-api-spain"
  region             = "eu-south-2"
  account_id         = "111122223333"
  key_arn            = "arn:aws:kms:eu-south-2:111122223333:key/alerts"
  email              = "payments@example.com"
  monthly_budget_usd = 1800
}

run "alarms_are_encrypted_and_from_this_account" {
  assert {
    condition     = aws_sns_topic.this.kms_master_key_id == var.key_arn
    error_message = "Notifications are not encrypted with their key."
  }

  assert {
    condition     = alltrue([for statement in output.policy.Statement : statement.Condition.StringEquals["aws:SourceAccount"] == var.account_id])
    error_message = "Other accounts may publish to the topic."
  }

  assert {
    condition     = toset(flatten([for statement in output.policy.Statement : statement.Principal.Service])) == toset(["cloudwatch.amazonaws.com", "events.rds.amazonaws.com"])
    error_message = "Alarms or the database's events may not publish to the topic, or somebody else may."
  }

  assert {
    condition     = aws_sns_topic_subscription.email.endpoint == var.email
    error_message = "Nobody is notified."
  }
}

run "the_budget_warns_before_it_is_spent" {
  command = plan

  assert {
    condition     = aws_budgets_budget.this[0].limit_amount == "1800" && aws_budgets_budget.this[0].time_unit == "MONTHLY"
    error_message = "The budget is not the one that was set."
  }

  assert {
    condition     = toset([for notification in aws_budgets_budget.this[0].notification : "${notification.notification_type} ${notification.threshold}"]) == toset(["ACTUAL 80", "FORECASTED 100"])
    error_message = "A warning is missing."
  }

  assert {
    condition     = anytrue([for filter in aws_budgets_budget.this[0].cost_filter : filter.name == "Region" && contains(filter.values, "eu-south-2")])
    error_message = "The budget is not this region's."
  }
}

run "where_the_account_may_not_have_budgets_there_is_none" {
  command = plan

  variables { monthly_budget_usd = 0 }

  assert {
    condition     = length(aws_budgets_budget.this) == 0
    error_message = "AWS would refuse the budget, and the apply would end there."
  }
}

run "a_budget_below_nothing_is_refused" {
  command         = plan
  expect_failures = [var.monthly_budget_usd]
  variables { monthly_budget_usd = -1 }
}

run "an_address_that_is_none_is_refused" {
  command         = plan
  expect_failures = [var.email]
  variables { email = "payments" }
}
