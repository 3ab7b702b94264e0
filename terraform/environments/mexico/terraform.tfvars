site      = "mexico"
region    = "us-east-1"
residency = "MX"
cidr      = "10.20.0.0/16"

availability_zones = ["us-east-1a", "us-east-1b", "us-east-1c"]
monthly_budget_usd = 1800
