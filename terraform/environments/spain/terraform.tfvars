site      = "spain"
region    = "eu-south-2"
residency = "EU"
cidr      = "10.10.0.0/16"

availability_zones = ["eu-south-2a", "eu-south-2b", "eu-south-2c"]
monthly_budget_usd = 1800

# In UTC. After the prune job, if it is on (03:17, an hour). Two days before Mexico, so that a patch is seen here first.
database_backup_window      = "02:00-03:00"
database_maintenance_window = "sun:04:30-sun:05:30"
