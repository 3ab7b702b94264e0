output "policy" {
  description = "Policy of the function: what it may do."
  value       = local.policy
}

output "function_name" {
  description = "Name of the function, for its log."
  value       = aws_lambda_function.this.function_name
}
