output "topic_arn" {
  description = "Topic that alarms go to."
  value       = aws_sns_topic.this.arn
}

output "policy" {
  description = "Who may publish to it."
  value       = local.policy
}
