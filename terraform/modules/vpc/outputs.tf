output "id" {
  description = "ID of the network."
  value       = module.vpc.vpc_id
}

output "private_subnet_ids" {
  description = "Subnets of nodes and pods, one for each zone."
  value       = module.vpc.private_subnets
}

output "private_subnet_cidrs" {
  description = "Networks of nodes and pods."
  value       = local.subnets.private
}

output "public_subnet_cidrs" {
  description = "Networks of the load balancer's addresses; the chart's network policy lets them reach pods."
  value       = local.subnets.public
}

output "database_subnet_cidrs" {
  description = "Networks of the database and its proxy; the chart's network policy lets pods reach them."
  value       = local.subnets.database
}

output "database_subnet_ids" {
  description = "Subnets without any route to the internet."
  value       = module.vpc.database_subnets
}

output "database_subnet_group_name" {
  description = "Subnet group of the database."
  value       = module.vpc.database_subnet_group_name
}

output "nat_addresses" {
  description = "Public addresses from which this region's pods reach the internet."
  value       = aws_eip.nat[*].public_ip
}

output "settings" {
  description = "Settings of the network."
  value       = local.settings
}

output "endpoints" {
  description = "AWS services that are reached through endpoints inside the network."
  value       = sort(keys(local.endpoints))
}

output "endpoint_security_groups" {
  description = "Security groups of the endpoints."
  value       = local.endpoint_security_groups
}
