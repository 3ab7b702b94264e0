output "topic_arn" {
  description = "Topic that alarms go to."
  value       = aws_sns_topic.this.arn

  # RDS asks at once whether it may publish.
  depends_on = [aws_sns_topic_policy.this]
}

output "policy" {
  description = "Who may publish to it."
  value       = local.policy
}

output "key" {
  description = "What notifications are encrypted by."
  value       = aws_sns_topic.this.kms_master_key_id
}
