output "name" {
  description = "Name of the cluster."
  value       = local.settings.name
}

output "endpoint" {
  description = "Address of the Kubernetes API."
  value       = module.eks.cluster_endpoint
}

output "certificate_authority_data" {
  description = "CA of the API's certificate, in base64."
  value       = module.eks.cluster_certificate_authority_data
}

output "oidc_provider_arn" {
  description = "Identity provider that roles of ServiceAccounts trust."
  value       = module.eks.oidc_provider_arn
}

output "node_security_group_id" {
  description = "Security group of every node, and so of every pod."
  value       = module.eks.node_security_group_id
}

output "settings" {
  description = "Settings of the control plane."
  value       = local.settings
}

output "node_groups" {
  description = "Settings of each node group."
  value       = local.node_groups
}

output "addons" {
  description = "Version and configuration of each add-on."
  value       = local.addons
}

output "access_entries" {
  description = "Access entries: who may access the cluster, and with which permissions."
  value       = local.access_entries
}

output "addon_roles" {
  description = "Settings of the add-ons' IAM roles."
  value       = local.addon_roles
}
