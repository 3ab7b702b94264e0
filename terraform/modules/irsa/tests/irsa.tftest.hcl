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
    error_message = "A role does not have its policy, or a role with a published policy has another one."
  }

  assert {
    condition     = aws_iam_policy.own["application"].policy == var.roles.application.policy
    error_message = "The policy is not the one that was given."
  }

  assert {
    condition     = toset(keys(output.arns)) == toset(["application", "cluster-autoscaler"])
    error_message = "A role is missing."
  }

  assert {
    condition = (
      jsonencode(output.settings["application"].policies) == jsonencode({ own = aws_iam_policy.own["application"].arn }) &&
      !output.settings["application"].create_policy &&
      !output.settings["application"].load_balancer_controller && !output.settings["application"].cluster_autoscaler
    )
    error_message = "A role of this project does not have its policy, or has a published one."
  }
}

run "a_published_policy_comes_alone_and_the_autoscaler_s_is_for_its_cluster" {
  variables {
    roles = {
      load-balancer-controller = {
        service_accounts = ["kube-system:aws-load-balancer-controller"]
        published        = "load_balancer_controller"
      }
      cluster-autoscaler = {
        service_accounts = ["kube-system:cluster-autoscaler"]
        published        = "cluster_autoscaler"
      }
    }
  }

  assert {
    condition     = alltrue([for role in output.settings : role.create_policy && length(role.policies) == 0])
    error_message = "A published policy is not attached, or is attached together with another one."
  }

  assert {
    condition = (
      [for name in ["load-balancer-controller", "cluster-autoscaler"] : output.settings[name].load_balancer_controller] == [true, false] &&
      [for name in ["load-balancer-controller", "cluster-autoscaler"] : output.settings[name].cluster_autoscaler] == [false, true]
    )
    error_message = "A role has the other role's policy."
  }

  assert {
    condition     = join(",", output.settings["cluster-autoscaler"].autoscaler_of_cluster_only) == var.cluster_name
    error_message = "The autoscaler could change another cluster's nodes, or none."
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
