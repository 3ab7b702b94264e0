output "address" {
  description = "Host of the database itself, for the owner: its session locks would pin connections of the proxy."
  value       = module.rds.db_instance_address
}

output "proxy_address" {
  description = "Host of the proxy, for the application."
  value       = module.proxy.proxy_endpoint
}

output "database" {
  description = "Name of the database."
  value       = local.database
}

output "port" {
  description = "Port of the database and of the proxy."
  value       = local.port
}

output "master_secret_arn" {
  description = "Secret with the master password, which RDS keeps and rotates."
  value       = module.rds.db_instance_master_user_secret_arn
}

output "settings" {
  description = "Settings of the database."
  value       = local.settings
}

output "parameters" {
  description = "Database parameters that this module sets."
  value       = { for name, parameter in local.parameters : name => parameter.value }
}

output "proxy" {
  description = "Settings of the proxy."
  value       = local.proxy
}

output "alarm_names" {
  description = "Alarms of the database and its proxy."
  value       = sort([for alarm in aws_cloudwatch_metric_alarm.database : alarm.alarm_name])
}
