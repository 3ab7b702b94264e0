locals {
  gib = 1024 * 1024 * 1024

  # An alarm fires after three bad minutes of five, unless it sets something else.
  usual = { statistic = "Average", period = 60, periods = 5, bad = 3 }

  of_instance = {
    # Missing data counts as bad: an instance that is down must not look like one that is idle.
    cpu = {
      metric = "CPUUtilization", operator = "GreaterThanThreshold", threshold = 70, missing = "breaching"
      why    = "The database's CPU is above 70 %, and commits begin to wait for it; or the database has reported nothing for three minutes."
    }
    # Storage grows by itself when 10 % of its current size is left. The current size is not a metric, so the threshold
    # is a share of the initial size. Before storage has grown, the alarm means that it did not grow; later, that it
    # may not grow any more.
    storage = {
      metric = "FreeStorageSpace", operator = "LessThanThreshold", threshold = floor(0.07 * var.allocated_storage_gib * local.gib)
      why    = "Free storage is below 7 % of the initial storage, although storage should have grown by itself before that."
    }
    memory = {
      metric = "FreeableMemory", operator = "LessThanThreshold", threshold = local.gib / 2
      why    = "Less than 512 MiB of memory is free."
    }
    write-latency = {
      metric = "WriteLatency", operator = "GreaterThanThreshold", threshold = 0.01
      why    = "A write takes more than 10 ms on average, which is twice a commit's budget at p99, and a commit is at least one write."
    }
    queue = {
      metric = "DiskQueueDepth", operator = "GreaterThanThreshold", threshold = 32
      why    = "More than 32 operations are waiting for the storage."
    }
    # Smaller classes may exceed their baseline for a while. Larger ones do not have these two metrics, and their alarms
    # stay silent.
    storage-operations = {
      metric = "EBSIOBalance%", operator = "LessThanThreshold", threshold = 50, period = 300, periods = 3, bad = 2
      why    = "Half of the instance's burst balance for storage operations is used up. When it is empty, commits wait. A larger class has more."
    }
    storage-bytes = {
      metric = "EBSByteBalance%", operator = "LessThanThreshold", threshold = 50, period = 300, periods = 3, bad = 2
      why    = "Half of the instance's burst balance for storage throughput is used up. When it is empty, commits wait. A larger class has more."
    }
    # Vacuum freezes rows from 200 million transactions on; PostgreSQL refuses writes at about 2,100 million.
    transaction-ids = {
      metric = "MaximumUsedTransactionIDs", operator = "GreaterThanThreshold", threshold = 500000000
      why    = "Vacuum is not keeping up with transaction IDs, or something is holding it back. If that goes on, the database will refuse writes."
    }
  }

  # The proxy sends these metrics only when there is something to count.
  of_proxy = {
    proxy-borrow = {
      metric = "DatabaseConnectionsBorrowLatency", operator = "GreaterThanThreshold", threshold = 5000
      why    = "The proxy takes more than 5 ms to hand out a connection."
    }
    # One refused login is enough, so the alarm takes the sum and not the average.
    proxy-login = {
      metric    = "ClientConnectionsSetupFailedAuth", operator = "GreaterThanThreshold", threshold = 0
      statistic = "Sum", period = 300, periods = 1, bad = 1
      why       = "The proxy rejected a login: a rotation went wrong, or somebody is trying passwords."
    }
    proxy-pinned = {
      metric    = "DatabaseConnectionsCurrentlySessionPinned", operator = "GreaterThanThreshold", threshold = 0
      statistic = "Sum", bad = 5
      why       = "Sessions have been pinned to a connection of the proxy for five minutes, which the service never causes (ADR-01, section 4)."
    }
  }

  # The identifier comes from the instance, so that no alarm exists before the instance does. Right after it is made,
  # one e-mail about missing data is possible, because its first data points come some minutes later.
  alarms = merge(
    { for name, alarm in local.of_instance : name => merge(local.usual, {
      missing = "missing", dimensions = { DBInstanceIdentifier = module.rds.db_instance_identifier }
    }, alarm) },
    { for name, alarm in local.of_proxy : name => merge(local.usual, {
      missing = "notBreaching", dimensions = { ProxyName = local.proxy.name }
    }, alarm) },
  )
}

resource "aws_cloudwatch_metric_alarm" "database" {
  for_each = local.alarms

  alarm_name          = "${var.name}-${each.key}"
  alarm_description   = each.value.why
  namespace           = "AWS/RDS"
  metric_name         = each.value.metric
  dimensions          = each.value.dimensions
  statistic           = each.value.statistic
  period              = each.value.period
  evaluation_periods  = each.value.periods
  datapoints_to_alarm = each.value.bad
  comparison_operator = each.value.operator
  threshold           = each.value.threshold
  treat_missing_data  = each.value.missing
  alarm_actions       = [var.alarm_topic_arn]
  ok_actions          = [var.alarm_topic_arn]
}

# Events that no metric shows: a fail-over, maintenance, storage that cannot grow any more, a missing key.
resource "aws_db_event_subscription" "database" {
  name             = "${var.name}-database"
  sns_topic        = var.alarm_topic_arn
  source_type      = "db-instance"
  source_ids       = [module.rds.db_instance_identifier]
  event_categories = ["availability", "failover", "failure", "low storage", "maintenance", "notification", "recovery"]
}
