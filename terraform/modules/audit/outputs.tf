output "settings" {
  description = "What the trail and its bucket are made with."
  value       = local.settings
}

output "policy" {
  description = "Who may write to the bucket."
  value       = local.policy
}
