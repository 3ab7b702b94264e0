# One key per purpose: a service that may use one key can read nothing that another key protects.

locals {
  account = "arn:aws:iam::${var.account_id}"

  purposes = {
    cluster  = "Kubernetes Secrets in etcd (envelope encryption)"
    nodes    = "Volumes of the nodes"
    database = "PostgreSQL: storage, backups, insights"
    secrets  = "Secrets Manager: API key and database logins"
    logs     = "CloudWatch log groups"
    audit    = "CloudTrail and its bucket"
    images   = "Container images in ECR"
    alerts   = "Alarm notifications in SNS"
  }

  # Besides the account's own IAM, these service principals may use a key, each only for this account and region.
  service_statements = {
    logs = [{
      sid        = "CloudWatchLogs"
      actions    = local.use
      principals = [{ type = "Service", identifiers = ["logs.${var.region}.amazonaws.com"] }]
      condition = [{
        test     = "ArnLike"
        variable = "kms:EncryptionContext:aws:logs:arn"
        values   = ["arn:aws:logs:${var.region}:${var.account_id}:log-group:*"]
      }]
    }]
    # Decrypt is needed since the bucket has an S3 bucket key under this key: without it, CloudTrail refuses to make the
    # trail.
    audit = [{
      sid        = "CloudTrail"
      actions    = ["kms:GenerateDataKey*", "kms:Decrypt", "kms:DescribeKey"]
      principals = [{ type = "Service", identifiers = ["cloudtrail.amazonaws.com"] }]
      condition = [{
        test     = "StringEquals"
        variable = "aws:SourceArn"
        values   = ["arn:aws:cloudtrail:${var.region}:${var.account_id}:trail/${var.name}"]
      }]
    }]
    alerts = [
      {
        sid        = "Alarms"
        actions    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        principals = [{ type = "Service", identifiers = ["cloudwatch.amazonaws.com"] }]
        condition = [{
          test     = "StringEquals"
          variable = "aws:SourceAccount"
          values   = [var.account_id]
        }]
      },
      # Bound to the topic, which SNS passes to the key for every publisher. Not every source passes its account, and
      # AWS does not say whether RDS does.
      {
        sid        = "DatabaseEvents"
        actions    = ["kms:Decrypt", "kms:GenerateDataKey*"]
        principals = [{ type = "Service", identifiers = ["events.rds.amazonaws.com"] }]
        condition = [{
          test     = "StringEquals"
          variable = "kms:EncryptionContext:aws:sns:topicArn"
          values   = ["arn:aws:sns:${var.region}:${var.account_id}:${var.name}-alerts"]
        }]
      },
    ]
  }
  use = ["kms:Encrypt", "kms:Decrypt", "kms:ReEncrypt*", "kms:GenerateDataKey*", "kms:DescribeKey"]

  # Auto Scaling starts nodes with encrypted volumes through its service-linked role.
  autoscaling_role = "${local.account}:role/aws-service-role/autoscaling.amazonaws.com/AWSServiceRoleForAutoScaling"

  settings = {
    for purpose in var.purposes : purpose => {
      description             = "${local.purposes[purpose]}, ${var.name}"
      aliases                 = ["${var.name}/${purpose}"]
      enable_key_rotation     = true
      rotation_period_in_days = 365
      deletion_window_in_days = 30
      multi_region            = false
      enable_default_policy   = true
      key_statements          = lookup(local.service_statements, purpose, [])
      autoscaling_roles       = purpose == "nodes" ? [local.autoscaling_role] : []
    }
  }
}

module "key" {
  source   = "terraform-aws-modules/kms/aws"
  version  = "4.2.0"
  for_each = local.settings

  description                       = each.value.description
  aliases                           = each.value.aliases
  enable_key_rotation               = each.value.enable_key_rotation
  rotation_period_in_days           = each.value.rotation_period_in_days
  deletion_window_in_days           = each.value.deletion_window_in_days
  multi_region                      = each.value.multi_region
  enable_default_policy             = each.value.enable_default_policy
  key_statements                    = each.value.key_statements
  key_service_roles_for_autoscaling = each.value.autoscaling_roles
}
