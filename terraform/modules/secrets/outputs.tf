output "arns" {
  description = "ARN of each secret, by the last part of its name."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.arn }
}

output "names" {
  description = "Full name of each secret, by its last part."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.name }
}

output "login_arns" {
  description = "Secrets of the two application logins, by login."
  value       = { for login in keys(local.logins) : login => aws_secretsmanager_secret.this["database-login-${login}"].arn }

  # The proxy must only be made once these secrets hold a login.
  depends_on = [aws_secretsmanager_secret_version.login]
}

output "keys" {
  description = "KMS key of each secret, by the last part of its name."
  value       = { for name, secret in aws_secretsmanager_secret.this : name => secret.kms_key_id }
}
