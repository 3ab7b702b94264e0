# The secrets and their first values. No value is ever in the state: passwords are ephemeral and written through
# write-only arguments, and phase 5 makes the API key.

locals {
  logins = { a = "payments_api_a", b = "payments_api_b" }

  secrets = {
    "api-key"          = "API key of the payment endpoint, or two while one is rotated (NEW,OLD); made by the operator's secrets phase"
    "database"         = "Current application login; External Secrets reads it, a rotation switches it"
    "database-owner"   = "Owner of the schema, for migrate and prune, directly at the database"
    "database-login-a" = "Application login a, for the proxy"
    "database-login-b" = "Application login b, for the proxy"
  }

  at_proxy = { host = var.database.proxy, port = var.database.port, dbname = var.database.name }
  at_host  = { host = var.database.host, port = var.database.port, dbname = var.database.name }
}

resource "aws_secretsmanager_secret" "this" {
  #checkov:skip=CKV2_AWS_57:The rotation module rotates database and owner, and the logins with them; the operator rotates the key
  for_each = local.secrets

  name                    = "${var.prefix}/${each.key}"
  description             = each.value
  kms_key_id              = var.key_arn
  recovery_window_in_days = 7
}

ephemeral "random_password" "first" {
  for_each = toset(["a", "b", "owner"])

  length  = 40
  special = false
}

locals {
  # secret_string_wo_version stays 1: with a higher one, Terraform would write this value over the password in force.
  #
  # The proxy reads only username and password of its logins' secrets, and they must exist before the proxy does: so
  # these values do not say where proxy and database are. The rotation adds that.
  first_values_of_logins = {
    for login, username in local.logins : login => { username = username, password = ephemeral.random_password.first[login].result }
  }
  first_values = {
    "database"       = merge(local.at_proxy, { username = local.logins.a, password = ephemeral.random_password.first["a"].result })
    "database-owner" = merge(local.at_host, { username = "payments_owner", password = ephemeral.random_password.first["owner"].result })
  }
}

resource "aws_secretsmanager_secret_version" "login" {
  for_each = local.logins

  secret_id                = aws_secretsmanager_secret.this["database-login-${each.key}"].id
  secret_string_wo         = jsonencode(local.first_values_of_logins[each.key])
  secret_string_wo_version = 1
  version_stages           = ["AWSCURRENT", "FIRST"] # as below

  lifecycle {
    ignore_changes = [version_stages]
  }
}

resource "aws_secretsmanager_secret_version" "first" {
  for_each = toset(["database", "database-owner"])

  secret_id                = aws_secretsmanager_secret.this[each.key].id
  secret_string_wo         = jsonencode(local.first_values[each.key])
  secret_string_wo_version = 1
  # A rotation moves AWSCURRENT to a newer version, and Secrets Manager keeps only a hundred versions without a label.
  # If this version were dropped, Terraform would write another first password over the one in force. The second label
  # keeps it.
  version_stages = ["AWSCURRENT", "FIRST"]

  lifecycle {
    ignore_changes = [version_stages]
  }
}
