site      = "spain"
region    = "eu-south-2"
residency = "EU"
cidr      = "10.10.0.0/16"

availability_zones = ["eu-south-2a", "eu-south-2b", "eu-south-2c"]
monthly_budget_usd = 1800
