mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  name         = "payment-latency-api-spain"
  region       = "eu-south-2"
  account_id   = "111122223333"
  state_bucket = "example-state-spain"
}

run "the_trail_is_of_one_region_validated_and_encrypted" {
  assert {
    condition     = !aws_cloudtrail.this.is_multi_region_trail && aws_cloudtrail.this.enable_log_file_validation && aws_cloudtrail.this.kms_key_id == module.kms.arns.audit
    error_message = "The trail takes records across regions, or they could be forged or read."
  }

  assert {
    condition     = output.settings.key.key_statements[0].condition[0].values == ["arn:aws:cloudtrail:eu-south-2:111122223333:trail/payment-latency-api-spain"] && !output.settings.key.multi_region
    error_message = "Another trail may use the key, or the key leaves its region."
  }
}

run "global_events_are_recorded_in_us_east_1_alone" {
  command = plan

  variables { region = "us-east-1" }

  assert {
    condition     = aws_cloudtrail.this.include_global_service_events
    error_message = "IAM's events are not recorded in any region."
  }
}

run "other_regions_do_not_repeat_global_events" {
  command = plan

  assert {
    condition     = !aws_cloudtrail.this.include_global_service_events
    error_message = "IAM's events are recorded a second time, in this region's trail."
  }
}

run "records_and_state_are_watched" {
  command = plan

  assert {
    condition = anytrue([for selector in aws_cloudtrail.this.advanced_event_selector : anytrue([
      for field in selector.field_selector : field.field == "eventCategory" && try(contains(field.equals, "Management"), false)
    ])])
    error_message = "Management events are not recorded."
  }

  assert {
    condition = anytrue([for selector in aws_cloudtrail.this.advanced_event_selector : anytrue([
      for field in selector.field_selector : field.field == "resources.ARN" && toset(field.starts_with) == toset([
        "arn:aws:s3:::payment-latency-api-spain-audit-eu-south-2-111122223333/", "arn:aws:s3:::example-state-spain/",
      ]) if field.starts_with != null
    ])])
    error_message = "Data events of the audit and the state bucket are not recorded."
  }
}

run "nobody_empties_the_bucket_before_its_time" {
  command = plan

  assert {
    condition     = output.settings.object_lock_enabled && output.settings.object_lock.rule.default_retention.mode == "COMPLIANCE" && output.settings.object_lock.rule.default_retention.days == 365
    error_message = "Records can be removed before a year is over."
  }

  assert {
    condition     = output.settings.expire_after_days > output.settings.object_lock.rule.default_retention.days && !output.settings.force_destroy
    error_message = "Records expire while they are locked, or are deleted with the bucket."
  }

  assert {
    condition     = output.settings.expire_after_days + output.settings.expire_hidden_after_days == 396
    error_message = "Records are kept for longer than a year and a month: an expired version is kept a second time."
  }
}

run "only_this_trail_writes" {
  command = plan

  assert {
    condition = alltrue([for statement in output.policy.Statement :
      statement.Principal.Service == "cloudtrail.amazonaws.com" &&
      statement.Condition.StringEquals["aws:SourceArn"] == "arn:aws:cloudtrail:eu-south-2:111122223333:trail/payment-latency-api-spain"
    ])
    error_message = "Something other than this trail may use the bucket."
  }
}

run "nobody_reads_the_records_from_outside" {
  command = plan

  assert {
    condition     = output.settings.public_access_blocked && output.settings.https_alone
    error_message = "The records can be made public, or be read without TLS."
  }
}

run "a_short_retention_is_refused" {
  command         = plan
  expect_failures = [var.retention_days]
  variables { retention_days = 30 }
}
