output "arns" {
  description = "ARN of each role."
  value       = { for name, role in module.role : name => role.arn }
}

output "trust" {
  description = "ServiceAccounts that may assume each role."
  value       = { for name, role in local.settings : name => role.service_accounts }
}

output "settings" {
  description = "Settings of each role."
  value       = local.settings
}
