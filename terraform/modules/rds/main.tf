locals {
  database = "payments"
  port     = 5432

  # Set for payments that are one small durable commit each. Every parameter that is not here keeps RDS' default. A
  # parameter that equals its default has apply_method pending-reboot, as AWS reports it for every default: AWS
  # registers no other method for a value that does not change, and every plan would show a change.
  parameters = {
    # No session without TLS.
    "rds.force_ssl" = { value = "1", apply_method = "pending-reboot" }
    # A 200 means committed: never weaken this for speed.
    "synchronous_commit" = { value = "on", apply_method = "pending-reboot" }
    # A commit is not delayed: the service itself puts payments that wait together into one commit.
    "commit_delay" = { value = "0" }
    # The first change of a page after a checkpoint logs the whole page, so rarer checkpoints mean smaller commits. The
    # price: after a crash or a fail-over, the log since the last checkpoint is replayed first.
    "checkpoint_timeout" = { value = "900" }
    "max_wal_size"       = { value = "16384" }
    # Shortens whole pages in the log (ADR-02, tactic 10, has by how much); what else a commit writes is left as it is.
    "wal_compression" = { value = "lz4" }
    # WAL segments are recycled instead of created while a commit waits.
    "min_wal_size" = { value = "4096" }
    # Payments are only ever inserted. This vacuums after 5 % of new rows, not after the default 20 %, so that the
    # visibility map, and with it index-only scans, keep up.
    "autovacuum_vacuum_insert_scale_factor" = { value = "0.05" }
    # A forgotten transaction of the owner would hold vacuum back. Statements of a migration have a time-out of their
    # own.
    "idle_in_transaction_session_timeout" = { value = "60000" }
    # Shorter than an exchange (EXCHANGE_TIMEOUT_MS): PostgreSQL refuses a payment whose key another session holds, and
    # the other payments of the same exchange go on. Migrations set their own.
    "lock_timeout" = { value = "750" }
    # While a statement runs, PostgreSQL checks every second whether its client is still there.
    "client_connection_check_interval" = { value = "1000" }
    # Slow statements and waits for locks are logged. deadlock_timeout is shorter than lock_timeout, so that a wait is
    # logged before it is given up. Parameters of statements are not logged, nor are details, which hold a row's values
    # (and who held a lock).
    "deadlock_timeout"                  = { value = "500" }
    "log_error_verbosity"               = { value = "terse" }
    "log_min_duration_statement"        = { value = "100" }
    "log_lock_waits"                    = { value = "1" }
    "log_connections"                   = { value = "1" }
    "log_disconnections"                = { value = "1" }
    "log_parameter_max_length"          = { value = "0" }
    "log_parameter_max_length_on_error" = { value = "0" }
    "track_io_timing"                   = { value = "1", apply_method = "pending-reboot" }
    "track_wal_io_timing"               = { value = "1" }
    "shared_preload_libraries"          = { value = "pg_stat_statements", apply_method = "pending-reboot" }
  }

  settings = {
    identifier     = var.name
    engine         = "postgres"
    engine_version = var.engine_version
    family         = "postgres17"
    instance_class = var.instance_class
    db_name        = local.database
    port           = local.port

    db_subnet_group_name   = var.subnet_group_name
    vpc_security_group_ids = [aws_security_group.database.id]

    # The master user only makes roles (see the rotation module). RDS keeps and rotates its password.
    username                    = "payments_admin"
    manage_master_user_password = true
    master_user_secret_key      = var.key_arns.secrets

    multi_az            = true
    publicly_accessible = false
    ca_cert_identifier  = "rds-ca-rsa2048-g1"

    storage_type          = "gp3"
    allocated_storage     = var.allocated_storage_gib
    max_allocated_storage = var.allocated_storage_gib * 4
    storage_encrypted     = true
    storage_key           = var.key_arns.database

    backup_retention_period  = 35
    backup_window            = var.backup_window
    maintenance_window       = var.maintenance_window
    copy_tags_to_snapshot    = true
    delete_automated_backups = false
    skip_final_snapshot      = false
    deletion_protection      = var.deletion_protection

    auto_minor_version_upgrade          = true
    iam_database_authentication_enabled = false

    database_insights_mode       = var.insights_mode
    performance_insights_enabled = true
    insights_key                 = var.key_arns.database
    insights_retention           = var.insights_mode == "advanced" ? 465 : 7
    monitoring_interval          = 15
    log_exports                  = ["postgresql", "upgrade"]
    log_key                      = var.key_arns.logs
    log_retention                = 365
  }

  proxy = {
    name          = var.name
    engine_family = "POSTGRESQL"
    require_tls   = true
    debug_logging = false

    vpc_subnet_ids         = var.subnet_ids
    vpc_security_group_ids = [aws_security_group.proxy.id]

    # Key that the proxy's role may decrypt with: the secrets of its logins are encrypted by it.
    kms_key_arns                = [var.key_arns.secrets]
    log_group_kms_key_id        = var.key_arns.logs
    log_group_retention_in_days = 365

    auth = { for login, arn in var.login_secret_arns : login => {
      auth_scheme               = "SECRETS"
      iam_auth                  = "DISABLED"
      client_password_auth_type = "POSTGRES_SCRAM_SHA_256"
      secret_arn                = arn
      description               = "Application login ${login}"
    } }

    # Longer than the service leaves a connection idle (it probes every 30 s).
    idle_client_timeout = 1800
    # Instead of 120 s, which no caller waits for. A payment gives up after its exchange's time-out of 0.9 s and tries
    # again; time-outs of the proxy are whole seconds.
    connection_borrow_timeout = 2
    # The rest is for the owner, the rotation and the people who look after the database.
    max_connections_percent = 80
    # Keeps idle connections open: a new one would cost some payment a handshake.
    max_idle_connections_percent = 80
  }
}

module "rds" {
  source  = "terraform-aws-modules/rds/aws"
  version = "7.2.0"

  identifier     = local.settings.identifier
  engine         = local.settings.engine
  engine_version = local.settings.engine_version
  family         = local.settings.family
  instance_class = local.settings.instance_class
  db_name        = local.settings.db_name
  port           = local.settings.port

  username                      = local.settings.username
  manage_master_user_password   = local.settings.manage_master_user_password
  master_user_secret_kms_key_id = local.settings.master_user_secret_key

  multi_az               = local.settings.multi_az
  publicly_accessible    = local.settings.publicly_accessible
  ca_cert_identifier     = local.settings.ca_cert_identifier
  create_db_subnet_group = false
  db_subnet_group_name   = local.settings.db_subnet_group_name
  vpc_security_group_ids = local.settings.vpc_security_group_ids

  storage_type          = local.settings.storage_type
  allocated_storage     = local.settings.allocated_storage
  max_allocated_storage = local.settings.max_allocated_storage
  storage_encrypted     = local.settings.storage_encrypted
  kms_key_id            = local.settings.storage_key

  backup_retention_period          = local.settings.backup_retention_period
  backup_window                    = local.settings.backup_window
  maintenance_window               = local.settings.maintenance_window
  copy_tags_to_snapshot            = local.settings.copy_tags_to_snapshot
  delete_automated_backups         = local.settings.delete_automated_backups
  skip_final_snapshot              = local.settings.skip_final_snapshot
  final_snapshot_identifier_prefix = "${var.name}-final"
  deletion_protection              = local.settings.deletion_protection

  auto_minor_version_upgrade          = local.settings.auto_minor_version_upgrade
  iam_database_authentication_enabled = local.settings.iam_database_authentication_enabled

  database_insights_mode                 = local.settings.database_insights_mode
  performance_insights_enabled           = local.settings.performance_insights_enabled
  performance_insights_retention_period  = local.settings.insights_retention
  performance_insights_kms_key_id        = local.settings.insights_key
  monitoring_interval                    = local.settings.monitoring_interval
  create_monitoring_role                 = true
  monitoring_role_name                   = "${var.name}-monitoring"
  enabled_cloudwatch_logs_exports        = local.settings.log_exports
  create_cloudwatch_log_group            = true
  cloudwatch_log_group_kms_key_id        = local.settings.log_key
  cloudwatch_log_group_retention_in_days = local.settings.log_retention

  create_db_option_group    = false
  create_db_parameter_group = true
  parameters = [for name, parameter in local.parameters : {
    name         = name
    value        = parameter.value
    apply_method = try(parameter.apply_method, "immediate")
  }]
}

module "proxy" {
  source  = "terraform-aws-modules/rds-proxy/aws"
  version = "4.4.0"

  name                   = local.proxy.name
  engine_family          = local.proxy.engine_family
  require_tls            = local.proxy.require_tls
  debug_logging          = local.proxy.debug_logging
  auth                   = local.proxy.auth
  vpc_subnet_ids         = local.proxy.vpc_subnet_ids
  vpc_security_group_ids = local.proxy.vpc_security_group_ids

  idle_client_timeout          = local.proxy.idle_client_timeout
  connection_borrow_timeout    = local.proxy.connection_borrow_timeout
  max_connections_percent      = local.proxy.max_connections_percent
  max_idle_connections_percent = local.proxy.max_idle_connections_percent

  target_db_instance     = true
  db_instance_identifier = module.rds.db_instance_identifier

  iam_role_name        = "${var.name}-proxy"
  use_role_name_prefix = false
  kms_key_arns         = local.proxy.kms_key_arns

  log_group_kms_key_id        = local.proxy.log_group_kms_key_id
  log_group_retention_in_days = local.proxy.log_group_retention_in_days
}

# Clients reach the proxy; the proxy and, for migrations and rotation, the same clients reach the database.

resource "aws_security_group" "proxy" {
  #checkov:skip=CKV2_AWS_5:The proxy's module attaches it
  name        = "${var.name}-proxy"
  description = "RDS Proxy: PostgreSQL from the application"
  vpc_id      = var.vpc_id
}

resource "aws_security_group" "database" {
  #checkov:skip=CKV2_AWS_5:The database's module attaches it
  name        = "${var.name}-database"
  description = "Database: PostgreSQL from the proxy and from the owner"
  vpc_id      = var.vpc_id
}

locals {
  doors = merge(
    { for client, group in var.client_security_groups : "proxy-${client}" => {
      into = aws_security_group.proxy.id, from = group, why = "PostgreSQL from ${client}"
    } },
    { for client, group in var.client_security_groups : "database-${client}" => {
      into = aws_security_group.database.id, from = group, why = "PostgreSQL from ${client}: migrations and rotation"
    } },
    { database-proxy = {
      into = aws_security_group.database.id, from = aws_security_group.proxy.id, why = "PostgreSQL from the proxy"
    } },
  )
}

resource "aws_vpc_security_group_ingress_rule" "door" {
  for_each = local.doors

  security_group_id            = each.value.into
  referenced_security_group_id = each.value.from
  description                  = each.value.why
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}

resource "aws_vpc_security_group_egress_rule" "proxy" {
  security_group_id            = aws_security_group.proxy.id
  referenced_security_group_id = aws_security_group.database.id
  description                  = "PostgreSQL to the database"
  ip_protocol                  = "tcp"
  from_port                    = local.port
  to_port                      = local.port
}
