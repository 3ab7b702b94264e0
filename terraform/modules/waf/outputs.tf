output "arn" {
  description = "ARN of the web ACL, for the Ingress."
  value       = aws_wafv2_web_acl.this.arn
}

output "log_key" {
  description = "KMS key of its log."
  value       = aws_cloudwatch_log_group.this.kms_key_id
}
