#!/usr/bin/env bash
# Phase 5: creates an API key in each region's Secrets Manager: random, different in each, never shown; an existing one
# is kept.
source "$(dirname "$0")/common.sh"
begin "phase 5" "an API key in each region's Secrets Manager" "make phase-6" "$@"

api_key() {
  local site=$1 name key stages
  name=$(fact "$site" api_key_secret)
  if ! dry; then
    stages=$(aws_in "$site" secretsmanager describe-secret --secret-id "$name" --query 'VersionIdsToStages' --output json) ||
      die "$site: the secret $name cannot be read: if it does not exist, run make phase-1"
    if [[ $stages == *AWSCURRENT* ]]; then
      step "$name already has a key, which is kept; make rotate-api-key replaces it"
      return
    fi
  fi
  step "storing a new key of 64 hexadecimal digits in $name"
  key=$(random_key)
  put_keys "$site" "$key"
}

load_all_outputs
in_regions api_key
