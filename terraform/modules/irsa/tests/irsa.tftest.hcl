mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  name              = "payment-latency-api-spain"
  cluster_name      = "payment-latency-api-spain"
  oidc_provider_arn = "arn:aws:iam::111122223333:oidc-provider/oidc.example.com/id/1"
  roles = {
    application = {
      service_accounts = ["payment-latency-api:payment-latency-api"]
      policy           = "{\"Version\":\"2012-10-17\",\"Statement\":[]}"
    }
    cluster-autoscaler = {
      service_accounts = ["kube-system:cluster-autoscaler"]
      published        = "cluster_autoscaler"
    }
  }
}

run "a_role_of_this_project_gets_its_own_policy_and_no_other" {
  assert {
    condition     = join(",", keys(aws_iam_policy.own)) == "application"
    error_message = "A role lacks its policy, or a published one got another."
  }

  assert {
    condition     = aws_iam_policy.own["application"].policy == var.roles.application.policy
    error_message = "The policy is not the one asked for."
  }

  assert {
    condition     = toset(keys(output.arns)) == toset(["application", "cluster-autoscaler"])
    error_message = "A role is missing."
  }
}

run "a_wildcard_for_service_accounts_is_refused" {
  command         = plan
  expect_failures = [var.roles]
  variables {
    roles = { all = { service_accounts = ["payment-latency-api:*"], policy = "{}" } }
  }
}

run "a_role_without_any_policy_is_refused" {
  command         = plan
  expect_failures = [var.roles]
  variables {
    roles = { none = { service_accounts = ["payment-latency-api:x"] } }
  }
}

run "an_unknown_published_policy_is_refused" {
  command         = plan
  expect_failures = [var.roles]
  variables {
    roles = { wide = { service_accounts = ["kube-system:x"], published = "administrator" } }
  }
}
