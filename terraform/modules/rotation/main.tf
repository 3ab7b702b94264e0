# Secrets Manager runs this function on a schedule. For the application it gives the idle login a new password, tries
# that through the proxy, and only then lets External Secrets see it. The owner has one login, whose password it
# changes.

locals {
  rotated = ["database-owner", "database"]

  own_secrets = [for name in ["database", "database-owner", "database-login-a", "database-login-b"] : var.secret_arns[name]]

  policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid    = "RotateOwnSecrets"
        Effect = "Allow"
        Action = [
          "secretsmanager:DescribeSecret", "secretsmanager:GetSecretValue",
          "secretsmanager:PutSecretValue", "secretsmanager:UpdateSecretVersionStage",
        ]
        Resource = local.own_secrets
      },
      {
        Sid      = "ReadMasterPassword"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetSecretValue"]
        Resource = [var.master_secret_arn]
      },
      {
        Sid      = "UseSecretsKey"
        Effect   = "Allow"
        Action   = ["kms:Decrypt", "kms:GenerateDataKey"]
        Resource = [var.key_arns.secrets]
        Condition = {
          StringEquals = { "kms:ViaService" = "secretsmanager.${var.region}.amazonaws.com" }
        }
      },
      {
        Sid      = "MakePassword"
        Effect   = "Allow"
        Action   = ["secretsmanager:GetRandomPassword"] # names no resource
        Resource = ["*"]
      },
      {
        Sid      = "WriteOwnLog"
        Effect   = "Allow"
        Action   = ["logs:CreateLogStream", "logs:PutLogEvents"]
        Resource = ["${aws_cloudwatch_log_group.this.arn}:*"]
      },
    ]
  }
}

resource "aws_cloudwatch_log_group" "this" {
  name              = "/aws/lambda/${var.name}-rotation"
  kms_key_id        = var.key_arns.logs
  retention_in_days = 365
}

resource "aws_iam_role" "this" {
  name = "${var.name}-rotation"
  assume_role_policy = jsonencode({
    Version = "2012-10-17"
    Statement = [{
      Effect    = "Allow"
      Action    = "sts:AssumeRole"
      Principal = { Service = "lambda.amazonaws.com" }
    }]
  })
}

resource "aws_iam_role_policy" "this" {
  name   = "rotate"
  role   = aws_iam_role.this.id
  policy = jsonencode(local.policy)
}

# Lets the function have network interfaces in the private subnets.
resource "aws_iam_role_policy_attachment" "network" {
  role       = aws_iam_role.this.name
  policy_arn = "arn:aws:iam::aws:policy/service-role/AWSLambdaENIManagementAccess"
}

resource "aws_lambda_function" "this" {
  #checkov:skip=CKV_AWS_115:Secrets Manager alone calls it, one rotation of each secret at a time
  #checkov:skip=CKV_AWS_116:Secrets Manager calls again after a failure and shows it; there is no event that could be lost
  #checkov:skip=CKV_AWS_173:The variables are names of secrets, not secrets
  #checkov:skip=CKV_AWS_272:The package's hash is in the plan; a signing profile would protect against whoever may apply it
  function_name    = "${var.name}-rotation"
  description      = "Rotates the database logins of ${var.name}"
  role             = aws_iam_role.this.arn
  filename         = var.package
  source_code_hash = filebase64sha256(var.package)
  handler          = "rotate.handler"
  runtime          = "python3.13"
  architectures    = ["arm64"]
  memory_size      = 256
  timeout          = 300 # seconds; the function tries a new login for a little less

  environment {
    variables = {
      MASTER_SECRET = var.master_secret_arn
      OWNER_SECRET  = var.secret_arns["database-owner"]
      LOGIN_SECRETS = jsonencode({
        payments_api_a = var.secret_arns["database-login-a"]
        payments_api_b = var.secret_arns["database-login-b"]
      })
    }
  }

  vpc_config {
    subnet_ids         = var.subnet_ids
    security_group_ids = [var.security_group_id]
  }

  tracing_config {
    mode = "PassThrough"
  }

  depends_on = [aws_iam_role_policy.this, aws_iam_role_policy_attachment.network]
}

# A failed rotation has no visible effect, but passwords no longer change. Rotations run once a week, so the alarm stays
# on for a day, which is as long as alarms with periods of five minutes may look back. No metric shows a rotation that
# Secrets Manager never began: the runbook says how to see when the last one was.
resource "aws_cloudwatch_metric_alarm" "this" {
  for_each = { errors = "Errors", throttles = "Throttles" }

  alarm_name          = "${var.name}-rotation-${each.key}"
  alarm_description   = "A rotation of the database's passwords failed: the log of ${aws_lambda_function.this.function_name} says why. The application's login still works. The alarm stays on for a day."
  namespace           = "AWS/Lambda"
  metric_name         = each.value
  dimensions          = { FunctionName = aws_lambda_function.this.function_name }
  statistic           = "Sum"
  period              = 300
  evaluation_periods  = 288
  datapoints_to_alarm = 1
  comparison_operator = "GreaterThanThreshold"
  threshold           = 0
  treat_missing_data  = "notBreaching"
  alarm_actions       = [var.alarm_topic_arn]
}

resource "aws_lambda_permission" "secrets_manager" {
  for_each = toset(local.rotated)

  statement_id   = "rotate-${each.key}"
  action         = "lambda:InvokeFunction"
  function_name  = aws_lambda_function.this.function_name
  principal      = "secretsmanager.amazonaws.com"
  source_account = var.account_id
  source_arn     = var.secret_arns[each.key]
}

resource "aws_secretsmanager_secret_rotation" "this" {
  for_each = toset(local.rotated)

  secret_id           = var.secret_arns[each.key]
  rotation_lambda_arn = aws_lambda_function.this.arn
  # The first rotation also makes the role in the database.
  rotate_immediately = true

  rotation_rules {
    automatically_after_days = var.days
  }

  depends_on = [aws_lambda_permission.secrets_manager]
}
