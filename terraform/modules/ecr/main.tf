locals {
  settings = {
    name                 = var.name
    image_tag_mutability = "IMMUTABLE"
    scan_on_push         = true
    encryption_type      = "KMS"
    kms_key              = var.key_arn
    force_delete         = false
    replication          = false
    lifecycle_policy = {
      rules = [
        {
          rulePriority = 1
          description  = "Untagged images are failed pushes"
          selection    = { tagStatus = "untagged", countType = "sinceImagePushed", countUnit = "days", countNumber = 7 }
          action       = { type = "expire" }
        },
        {
          rulePriority = 2
          description  = "The newest ${var.kept_images} images are enough to roll back to"
          selection    = { tagStatus = "any", countType = "imageCountMoreThan", countNumber = var.kept_images }
          action       = { type = "expire" }
        },
      ]
    }
  }
}

module "repository" {
  source  = "terraform-aws-modules/ecr/aws"
  version = "3.2.0"

  repository_name                           = local.settings.name
  repository_image_tag_mutability           = local.settings.image_tag_mutability
  repository_image_scan_on_push             = local.settings.scan_on_push
  repository_encryption_type                = local.settings.encryption_type
  repository_kms_key                        = local.settings.kms_key
  repository_force_delete                   = local.settings.force_delete
  repository_lifecycle_policy               = jsonencode(local.settings.lifecycle_policy)
  create_registry_replication_configuration = local.settings.replication

  # Nodes of this account pull images with their own role; nobody else has access.
  attach_repository_policy = false
  create_repository_policy = false
}
