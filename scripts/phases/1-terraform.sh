#!/usr/bin/env bash
# Phase 1: both regions in AWS by Terraform: first the addresses that Argo CD will come from, then both side by side.
source "$(dirname "$0")/common.sh"
# shellcheck source=terraform.sh
source "$ROOT/scripts/phases/terraform.sh"
begin "phase 1" "both regions in AWS, by Terraform" "make phase-2" "$@"

# A key's policy names this role, so it has to exist before the key.
autoscaling_role() {
  if ! dry && aws_in "$CONTROL" iam get-role --role-name AWSServiceRoleForAutoScaling >/dev/null 2>&1; then return; fi
  step "Auto Scaling's service-linked role, once an account"
  change aws_in "$CONTROL" iam create-service-linked-role --aws-service-name autoscaling.amazonaws.com >/dev/null
}

# Secrets of a region that was taken down keep their names for seven days. Whoever makes the region anew gives them up.
free_names() {
  local site=$1 name
  if dry; then return; fi
  aws_in "$site" secretsmanager list-secrets --include-planned-deletion --filters "Key=name,Values=$PROJECT/$(stage "$site")/" \
    --query 'SecretList[?DeletedDate].Name' --output json >"$WORK/$site.names"
  while read -r name; do
    step "$name is left from a former region: removing it for good"
    change aws_in "$site" secretsmanager delete-secret --secret-id "$name" --force-delete-without-recovery >/dev/null
  done < <(jq -r '.[]?' "$WORK/$site.names")
}

make_region() {
  free_names "$1"
  apply "$1"
}

if [ -n "$TERRAFORM_OUTPUTS" ]; then
  step "skipped: the outputs come from $TERRAFORM_OUTPUTS"
  exit
fi
[ -e "$OPERATOR_FILE" ] || dry || die "$OPERATOR_FILE is missing: make phase-0"
step "packing the function that rotates the database's logins"
pack_rotation
autoscaling_role
step "connecting with the state of each region"
# Spain's is needed for Mexico, too: its addresses.
connect "$CONTROL"
for site in ${SITES/$CONTROL/}; do connect "$site"; done
step "the addresses that Argo CD comes from, which the other region's Kubernetes API will let in"
plan_and_apply "$CONTROL" -target=module.vpc.aws_eip.nat "${INPUTS[@]}"
step "both regions side by side"
in_regions make_region
