mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  prefix  = "payment-latency-api/production"
  key_arn = "arn:aws:kms:eu-south-2:111122223333:key/secrets"
  database = {
    host  = "database.example.com"
    proxy = "proxy.example.com"
    port  = 5432
    name  = "payments"
  }
}

run "secrets_have_the_names_that_the_chart_reads" {
  assert {
    condition = toset([for secret in aws_secretsmanager_secret.this : secret.name]) == toset([
      "payment-latency-api/production/api-key",
      "payment-latency-api/production/database",
      "payment-latency-api/production/database-owner",
      "payment-latency-api/production/database-login-a",
      "payment-latency-api/production/database-login-b",
    ])
    error_message = "A secret is missing or has another name."
  }
}

run "every_secret_is_encrypted_by_the_key_and_stays_in_its_region" {
  command = plan

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : secret.kms_key_id == var.key_arn])
    error_message = "A secret is not encrypted with its key."
  }

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : length(secret.replica) == 0])
    error_message = "A secret is replicated to another region."
  }
}

run "a_deleted_secret_can_be_brought_back" {
  command = plan

  assert {
    condition     = alltrue([for secret in aws_secretsmanager_secret.this : secret.recovery_window_in_days == 7])
    error_message = "A secret that was deleted by mistake cannot be restored."
  }
}

run "no_value_is_in_the_state" {
  command = plan

  assert {
    condition     = alltrue([for version in concat(values(aws_secretsmanager_secret_version.first), values(aws_secretsmanager_secret_version.login)) : version.secret_string_wo_version == 1])
    error_message = "A first value is not write-only."
  }

  assert {
    condition     = alltrue([for version in concat(values(aws_secretsmanager_secret_version.first), values(aws_secretsmanager_secret_version.login)) : !strcontains(jsonencode(version), "payments_api")])
    error_message = "A value is among the attributes that the state keeps."
  }
}

run "first_values_stay_however_often_they_are_rotated" {
  command = plan

  assert {
    condition     = alltrue([for version in concat(values(aws_secretsmanager_secret_version.first), values(aws_secretsmanager_secret_version.login)) : contains(version.version_stages, "FIRST")])
    error_message = "Secrets Manager could drop the version that Terraform knows, and Terraform would overwrite the current password."
  }
}

run "terraform_never_makes_the_api_key" {
  command = plan

  assert {
    condition     = toset(keys(aws_secretsmanager_secret_version.first)) == toset(["database", "database-owner"])
    error_message = "Terraform writes the API key, which phase 5 makes."
  }
}

run "the_proxy_gets_both_logins" {
  assert {
    condition = { for login, version in aws_secretsmanager_secret_version.login : login => version.secret_id } == {
      for login in ["a", "b"] : login => aws_secretsmanager_secret.this["database-login-${login}"].id
    }
    error_message = "The proxy's own secret of a login has no value when the proxy is made."
  }

  assert {
    condition     = toset(keys(output.login_arns)) == toset(["a", "b"])
    error_message = "The proxy does not get exactly two logins."
  }
}

run "a_prefix_without_an_environment_is_refused" {
  command         = plan
  expect_failures = [var.prefix]
  variables { prefix = "payment-latency-api" }
}
