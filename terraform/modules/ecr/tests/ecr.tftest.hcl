mock_provider "aws" {
  source = "../../testing/aws"
}

variables {
  name    = "payment-latency-api"
  key_arn = "arn:aws:kms:eu-south-2:111122223333:key/images"
}

run "images_are_immutable_scanned_encrypted_and_stay_here" {
  assert {
    condition     = output.settings.image_tag_mutability == "IMMUTABLE" && output.settings.scan_on_push
    error_message = "A tag can be moved, or an image is not scanned."
  }

  assert {
    condition     = output.settings.encryption_type == "KMS" && output.settings.kms_key == var.key_arn
    error_message = "Images are not encrypted with their key."
  }

  assert {
    condition     = !output.settings.replication
    error_message = "Images are replicated to another region."
  }
}

run "old_images_go_and_enough_stay" {
  command = plan

  assert {
    condition     = [for rule in output.settings.lifecycle_policy.rules : rule.selection.countNumber] == [7, 50]
    error_message = "The lifecycle policy is not the expected one."
  }
}

run "keeping_too_few_images_is_refused" {
  command         = plan
  expect_failures = [var.kept_images]
  variables { kept_images = 3 }
}
