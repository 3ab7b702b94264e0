output "certificate_arn" {
  description = "Validated certificate of the host name."
  value       = module.certificate.acm_certificate_arn
}

output "settings" {
  description = "What the certificate is made with."
  value       = local.settings
}
