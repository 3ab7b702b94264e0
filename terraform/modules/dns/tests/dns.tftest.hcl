mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  domain              = "spain.pay.example.com"
  zone_name           = "example.com"
  cluster_name        = "payment-latency-api-spain"
  load_balancer_stack = "payment-latency-api/payment-latency-api"
}

run "the_certificate_comes_before_any_load_balancer" {
  assert {
    condition     = length(aws_route53_record.this) == 0 && output.settings.validation_method == "DNS"
    error_message = "The host name points somewhere before the load balancer exists."
  }

  assert {
    condition     = toset(aws_route53_record.issuers.records) == toset(["0 issue \"amazon.com\"", "0 issuewild \";\""])
    error_message = "Amazon may not issue the certificate, or others may."
  }
}

run "the_host_name_points_to_the_ingress_load_balancer" {
  command = plan

  variables { publish = true }

  assert {
    condition     = aws_route53_record.this[0].name == "spain.pay.example.com" && aws_route53_record.this[0].alias[0].name == data.aws_lb.this[0].dns_name
    error_message = "The host name does not point to the load balancer."
  }

  assert {
    condition     = data.aws_lb.this[0].tags["ingress.k8s.aws/stack"] == "payment-latency-api/payment-latency-api" && data.aws_lb.this[0].tags["elbv2.k8s.aws/cluster"] == "payment-latency-api-spain"
    error_message = "The load balancer of another cluster or Ingress could be chosen."
  }
}

run "a_malformed_domain_is_refused" {
  command         = plan
  expect_failures = [var.domain]
  variables { domain = "spain" }
}
