output "certificate_arn" {
  description = "ARN of the host name's validated certificate."
  value       = module.certificate.acm_certificate_arn
}

output "settings" {
  description = "Settings of the certificate."
  value       = local.settings
}
