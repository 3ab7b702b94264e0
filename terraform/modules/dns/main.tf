# Terraform makes the certificate first. The Ingress brings the load balancer later, and the record for it follows.

data "aws_route53_zone" "this" {
  name         = var.zone_name
  private_zone = false
}

locals {
  settings = {
    domain            = var.domain
    validation_method = "DNS"
    key_algorithm     = "EC_prime256v1"
  }
}

module "certificate" {
  source  = "terraform-aws-modules/acm/aws"
  version = "6.3.0"

  domain_name         = local.settings.domain
  zone_id             = data.aws_route53_zone.this.zone_id
  validation_method   = local.settings.validation_method
  key_algorithm       = local.settings.key_algorithm
  wait_for_validation = true
}

# Finds the load balancer by the tags that the AWS Load Balancer Controller sets.
data "aws_lb" "this" {
  count = var.publish ? 1 : 0

  tags = {
    "elbv2.k8s.aws/cluster"    = var.cluster_name
    "ingress.k8s.aws/stack"    = var.load_balancer_stack
    "ingress.k8s.aws/resource" = "LoadBalancer"
  }
}

resource "aws_route53_record" "this" {
  count = var.publish ? 1 : 0

  zone_id = data.aws_route53_zone.this.zone_id
  name    = local.settings.domain
  type    = "A"

  alias {
    name                   = data.aws_lb.this[0].dns_name
    zone_id                = data.aws_lb.this[0].zone_id
    evaluate_target_health = true
  }
}

# Only Amazon may issue certificates for this name.
resource "aws_route53_record" "issuers" {
  zone_id = data.aws_route53_zone.this.zone_id
  name    = local.settings.domain
  type    = "CAA"
  ttl     = 300
  records = ["0 issue \"amazon.com\"", "0 issuewild \";\""]
}
