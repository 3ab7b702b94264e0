output "arns" {
  description = "ARN of each key, by purpose."
  value       = { for purpose, key in module.key : purpose => key.key_arn }
}

output "settings" {
  description = "Settings of each key, by purpose."
  value       = local.settings
}
