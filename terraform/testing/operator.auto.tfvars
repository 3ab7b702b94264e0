# Inputs that an operator would give.
account_id          = "111122223333"
administrators      = { operator = "arn:aws:iam::111122223333:role/operator" }
operator_cidrs      = ["203.0.113.0/24"]
zone_name           = "example.com"
domain              = "pay.example.com"
state_bucket_prefix = "example-state"
alert_email         = "payments@example.com"
git_repository      = "https://git.example.com/payments/payment-latency-api.git"
rotation_package    = "../../testing/empty.zip"
