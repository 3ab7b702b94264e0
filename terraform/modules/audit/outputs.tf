output "settings" {
  description = "Settings of the trail and its bucket."
  value       = local.settings
}

output "policy" {
  description = "Policy of the bucket: who may write to it."
  value       = local.policy
}
