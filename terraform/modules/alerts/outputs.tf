output "topic_arn" {
  description = "ARN of the topic that alarms go to."
  value       = aws_sns_topic.this.arn

  # RDS checks at once whether it may publish, so the policy must come first.
  depends_on = [aws_sns_topic_policy.this]
}

output "policy" {
  description = "Policy of the topic: who may publish to it."
  value       = local.policy
}

output "key" {
  description = "KMS key that encrypts notifications."
  value       = aws_sns_topic.this.kms_master_key_id
}
