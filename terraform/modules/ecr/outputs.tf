output "url" {
  description = "Repository that images are pushed to."
  value       = module.repository.repository_url
}

output "settings" {
  description = "What the repository is made with."
  value       = local.settings
}
