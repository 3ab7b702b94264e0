output "arns" {
  description = "ARN of each role."
  value       = { for name, role in module.role : name => role.arn }
}

output "trust" {
  description = "ServiceAccounts that may take each role."
  value       = { for name, role in local.settings : name => role.service_accounts }
}

output "settings" {
  description = "Settings of each role."
  value       = local.settings
}
