# Records of who did what: one trail for this region, in a bucket that nobody can empty before the retention of its
# records ends.
#
# Bucket and key outlive a tear-down, which destroys everything that depends on what it removes. So they depend on
# nothing outside this module, and the key is made here.

locals {
  # A site that moves to another region leaves its bucket behind for as long as its records are kept, so the region is
  # in the name.
  bucket    = "${var.name}-audit-${var.region}-${var.account_id}"
  trail_arn = "arn:aws:cloudtrail:${var.region}:${var.account_id}:trail/${var.name}"

  # Events of IAM, STS' global endpoint and Route 53 are recorded in us-east-1 alone.
  global_events_region = "us-east-1"

  settings = {
    bucket                        = local.bucket
    object_lock_enabled           = true
    object_lock                   = { rule = { default_retention = { mode = "COMPLIANCE", days = var.retention_days } } }
    versioning                    = { enabled = true }
    force_destroy                 = false
    public_access_blocked         = true
    https_alone                   = true
    object_ownership              = "BucketOwnerEnforced"
    kms_key                       = module.kms.arns.audit
    key                           = module.kms.settings.audit
    multi_region                  = false
    include_global_service_events = var.region == local.global_events_region
    log_file_validation           = true
    data_event_buckets            = [local.bucket, var.state_bucket]
    expire_after_days             = var.retention_days + 30
    # In a versioned bucket, an expired object is hidden first and deleted after this many more days: the two periods
    # add up.
    expire_hidden_after_days = 1
  }

  policy = {
    Version = "2012-10-17"
    Statement = [
      {
        Sid       = "TrailAsksForAcl"
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "s3:GetBucketAcl"
        Resource  = "arn:aws:s3:::${local.bucket}"
        Condition = { StringEquals = { "aws:SourceArn" = local.trail_arn } }
      },
      {
        Sid       = "TrailWrites"
        Effect    = "Allow"
        Principal = { Service = "cloudtrail.amazonaws.com" }
        Action    = "s3:PutObject"
        Resource  = "arn:aws:s3:::${local.bucket}/AWSLogs/${var.account_id}/*"
        Condition = { StringEquals = {
          "aws:SourceArn" = local.trail_arn
          "s3:x-amz-acl"  = "bucket-owner-full-control"
        } }
      },
    ]
  }
}

module "kms" {
  source = "../kms"

  name       = var.name
  region     = var.region
  account_id = var.account_id
  purposes   = ["audit"]
}

module "bucket" {
  source  = "terraform-aws-modules/s3-bucket/aws"
  version = "5.15.4"

  bucket                    = local.settings.bucket
  object_lock_enabled       = local.settings.object_lock_enabled
  object_lock_configuration = local.settings.object_lock
  versioning                = local.settings.versioning
  force_destroy             = local.settings.force_destroy
  control_object_ownership  = true
  object_ownership          = local.settings.object_ownership

  block_public_acls       = local.settings.public_access_blocked
  block_public_policy     = local.settings.public_access_blocked
  ignore_public_acls      = local.settings.public_access_blocked
  restrict_public_buckets = local.settings.public_access_blocked

  attach_policy                         = true
  policy                                = jsonencode(local.policy)
  attach_deny_insecure_transport_policy = local.settings.https_alone
  attach_require_latest_tls_policy      = local.settings.https_alone

  server_side_encryption_configuration = {
    rule = {
      bucket_key_enabled                      = true
      apply_server_side_encryption_by_default = { sse_algorithm = "aws:kms", kms_master_key_id = local.settings.kms_key }
    }
  }

  lifecycle_rule = [{
    id                                     = "expire"
    enabled                                = true
    abort_incomplete_multipart_upload_days = 7
    expiration                             = { days = local.settings.expire_after_days }
    noncurrent_version_expiration          = { days = local.settings.expire_hidden_after_days }
  }]
}

resource "aws_cloudtrail" "this" {
  #checkov:skip=CKV_AWS_67:A trail for each region, so that no record but of the account's global events leaves its own
  #checkov:skip=CKV_AWS_252:Alarms go through CloudWatch; a message for every file of records would be noise
  #checkov:skip=CKV2_AWS_10:Records live in the locked bucket alone; a second copy in CloudWatch could be deleted
  name                          = var.name
  s3_bucket_name                = module.bucket.s3_bucket_id
  kms_key_id                    = local.settings.kms_key
  is_multi_region_trail         = local.settings.multi_region
  include_global_service_events = local.settings.include_global_service_events
  enable_log_file_validation    = local.settings.log_file_validation

  # CloudTrail writes a first file at once, and refuses a bucket that does not have its policy yet.
  depends_on = [module.bucket]

  advanced_event_selector {
    name = "Management events"

    field_selector {
      field  = "eventCategory"
      equals = ["Management"]
    }
  }

  advanced_event_selector {
    name = "Records and state"

    field_selector {
      field  = "eventCategory"
      equals = ["Data"]
    }

    field_selector {
      field  = "resources.type"
      equals = ["AWS::S3::Object"]
    }

    field_selector {
      field       = "resources.ARN"
      starts_with = [for bucket in local.settings.data_event_buckets : "arn:aws:s3:::${bucket}/"]
    }
  }
}
