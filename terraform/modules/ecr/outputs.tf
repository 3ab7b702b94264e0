output "url" {
  description = "URL of the repository that images are pushed to."
  value       = module.repository.repository_url
}

output "settings" {
  description = "Settings of the repository."
  value       = local.settings
}
