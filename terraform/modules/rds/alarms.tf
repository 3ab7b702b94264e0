locals {
  gib = 1024 * 1024 * 1024

  instance_dimension = { DBInstanceIdentifier = local.settings.identifier }
  proxy_dimension    = { ProxyName = local.proxy.name }

  alarms = {
    cpu = {
      metric = "CPUUtilization", operator = "GreaterThanThreshold", threshold = 70, dimensions = local.instance_dimension
      why    = "The database's CPU is above 70 %: commits begin to wait for it."
    }
    storage = {
      metric = "FreeStorageSpace", operator = "LessThanThreshold", threshold = 40 * local.gib, dimensions = local.instance_dimension
      why    = "Less than 40 GiB of storage are free, though it grows by itself."
    }
    memory = {
      metric = "FreeableMemory", operator = "LessThanThreshold", threshold = local.gib / 2, dimensions = local.instance_dimension
      why    = "Less than 512 MiB of memory are free."
    }
    write-latency = {
      metric = "WriteLatency", operator = "GreaterThanThreshold", threshold = 0.01, dimensions = local.instance_dimension
      why    = "A write takes more than 10 ms, and a commit at least one write."
    }
    queue = {
      metric = "DiskQueueDepth", operator = "GreaterThanThreshold", threshold = 32, dimensions = local.instance_dimension
      why    = "More than 32 operations wait for the storage."
    }
    proxy-borrow = {
      metric = "DatabaseConnectionsBorrowLatency", operator = "GreaterThanThreshold", threshold = 5000, dimensions = local.proxy_dimension
      why    = "The proxy takes more than 5 ms to hand out a connection."
    }
    proxy-login = {
      metric = "ClientConnectionsSetupFailedAuth", operator = "GreaterThanThreshold", threshold = 0, dimensions = local.proxy_dimension
      why    = "The proxy refused a login: a rotation went wrong, or somebody tries passwords."
    }
  }
}

resource "aws_cloudwatch_metric_alarm" "database" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.why
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = "Average"
  period              = 60
  evaluation_periods  = 5
  datapoints_to_alarm = 3
  comparison_operator = each.value.operator
  threshold           = each.value.threshold
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}
