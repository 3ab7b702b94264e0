site      = "mexico"
region    = "us-east-1"
residency = "MX"
cidr      = "10.20.0.0/16"

availability_zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
monthly_budget_usd = 1800

# In UTC; Mexico City is six hours behind. Two days after Spain, on a working day and hour of the people who look after
# both.
database_backup_window      = "08:00-09:00"
database_maintenance_window = "tue:09:30-tue:10:30"
