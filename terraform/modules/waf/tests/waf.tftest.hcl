mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  name         = "payment-latency-api-spain"
  logs_key_arn = "arn:aws:kms:eu-south-2:111122223333:key/logs"
}

run "known_attacks_and_floods_are_refused" {
  assert {
    condition = toset([for rule in aws_wafv2_web_acl.this.rule : rule.name]) == toset([
      "rate", "AWSManagedRulesAmazonIpReputationList", "AWSManagedRulesKnownBadInputsRuleSet", "AWSManagedRulesCommonRuleSet",
    ])
    error_message = "A rule is missing."
  }

  assert {
    condition     = length(distinct([for rule in aws_wafv2_web_acl.this.rule : rule.priority])) == 4
    error_message = "Two rules have the same priority."
  }
}

run "they_are_refused_and_not_only_counted" {
  command = plan

  assert {
    condition     = aws_wafv2_web_acl.this.scope == "REGIONAL"
    error_message = "The web ACL cannot be attached to a load balancer."
  }

  assert {
    condition     = alltrue([for rule in aws_wafv2_web_acl.this.rule : length(rule.override_action[0].none) == 1 if length(rule.override_action) > 0])
    error_message = "A rule group only counts."
  }

  assert {
    condition = [for rule in aws_wafv2_web_acl.this.rule : [for action in rule.action : [
      for block in action.block : one(block.custom_response).response_code
    ]] if rule.name == "rate"] == [[[429]]]
    error_message = "A flood is only counted, or is not answered with 429."
  }
}

run "a_caller_without_a_user_agent_is_let_through" {
  command = plan

  assert {
    condition = flatten([for rule in aws_wafv2_web_acl.this.rule : [for group in rule.statement[0].managed_rule_group_statement : [
      for override in group.rule_action_override : override.name
    ]]]) == ["NoUserAgent_HEADER"]
    error_message = "A rule that only browsers pass refuses callers, or another rule is off."
  }
}

run "what_is_let_through_is_not_logged" {
  command = plan

  assert {
    condition     = aws_wafv2_web_acl_logging_configuration.this.logging_filter[0].default_behavior == "DROP"
    error_message = "Every payment writes a line to a log that is paid for by size."
  }

  assert {
    condition = [for filter in aws_wafv2_web_acl_logging_configuration.this.logging_filter[0].filter :
      "${filter.behavior} ${one(filter.condition).action_condition[0].action}"
    ] == ["KEEP BLOCK"]
    error_message = "Refused requests are not logged."
  }
}

run "the_api_key_is_in_no_log" {
  command = plan

  assert {
    condition = toset([for field in aws_wafv2_web_acl_logging_configuration.this.redacted_fields : one(field.single_header).name]) == toset([
      "x-api-key", "idempotency-key",
    ])
    error_message = "The log contains API keys or idempotency keys."
  }

  assert {
    condition     = aws_cloudwatch_log_group.this.kms_key_id == var.logs_key_arn && startswith(aws_cloudwatch_log_group.this.name, "aws-waf-logs-")
    error_message = "The log is not encrypted, or WAF would refuse its name."
  }

  assert {
    condition = alltrue(flatten([
      [for rule in aws_wafv2_web_acl.this.rule : [for config in rule.visibility_config : !config.sampled_requests_enabled]],
      [for config in aws_wafv2_web_acl.this.visibility_config : !config.sampled_requests_enabled],
    ]))
    error_message = "Samples of requests, with their keys, are kept."
  }
}

run "a_rate_below_what_waf_takes_is_refused" {
  command         = plan
  expect_failures = [var.requests_per_address]
  variables { requests_per_address = 1 }
}
