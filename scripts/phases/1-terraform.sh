#!/usr/bin/env bash
# Phase 1: creates both regions in AWS with Terraform: first the addresses that Argo CD will connect from, then both
# regions side by side.
source "$(dirname "$0")/common.sh"
# shellcheck source=terraform.sh
source "$ROOT/scripts/phases/terraform.sh"
begin "phase 1" "the regions in AWS, by Terraform" "make phase-2" "$@"

# AWS creates each of these roles with the first call that needs it, and refuses that call as long as the role is not
# yet known everywhere: a node group, for example, then stays failed. A key's policy names Auto Scaling's role, too. The
# roles belong to the account, so they are created through us-east-1, where IAM is.
LINKED_ROLES='
autoscaling AWSServiceRoleForAutoScaling
rds AWSServiceRoleForRDS
eks AWSServiceRoleForAmazonEKS
eks-nodegroup AWSServiceRoleForAmazonEKSNodegroup
elasticloadbalancing AWSServiceRoleForElasticLoadBalancing
'

linked_roles() {
  local service role
  while read -r service role; do
    [ -n "$service" ] || continue
    if ! dry && aws_in "$CONTROL" --region us-east-1 iam get-role --role-name "$role" >/dev/null 2>&1 </dev/null; then continue; fi
    step "creating the service-linked role $role (once per account)"
    change aws_in "$CONTROL" --region us-east-1 iam create-service-linked-role --aws-service-name "$service.amazonaws.com" >/dev/null </dev/null
  done <<<"$LINKED_ROLES"
}

# Secrets of a region that was torn down keep their names for seven days. To create the region again, they are deleted
# for good.
free_names() {
  local site=$1 name
  if dry; then return; fi
  aws_in "$site" secretsmanager list-secrets --include-planned-deletion --filters "Key=name,Values=$PROJECT/$(stage "$site")/" \
    --query 'SecretList[?DeletedDate].Name' --output json >"$WORK/$site.names"
  while read -r name; do
    step "secret $name is left over from a region that was torn down: deleting it for good"
    change aws_in "$site" secretsmanager delete-secret --secret-id "$name" --force-delete-without-recovery >/dev/null
  done < <(jq -r '.[]?' "$WORK/$site.names")
}

# Creates the addresses before the other region needs them. If the plan would remove some, a gateway still uses them,
# and only the whole plan, which removes the gateway first, can do that.
make_addresses() {
  local plan="$WORK/addresses.plan" doomed
  change tf "$CONTROL" plan -input=false -no-color -lock-timeout=5m -out="$plan" -target=module.vpc.aws_eip.nat "${INPUTS[@]}"
  if ! dry; then
    doomed=$(doomed "$CONTROL" "$plan")
    if [ -n "$doomed" ]; then
      step "some addresses will be removed, together with the gateways that use them; the other region stops admitting them in the next make phase-1"
      return
    fi
  fi
  change tf "$CONTROL" apply -input=false -no-color -lock-timeout=5m "$plan"
}

make_region() {
  free_names "$1"
  apply "$1"
}

if [ -n "$TERRAFORM_OUTPUTS" ]; then
  step "skipped, because Terraform's outputs come from $TERRAFORM_OUTPUTS"
  exit
fi
[ -e "$OPERATOR_FILE" ] || dry || die "$OPERATOR_FILE is missing: run make phase-0"
step "packing the function that rotates the database's logins"
pack_rotation
linked_roles
step "connecting to the state of each region"
# Mexico needs Spain's state, too, for the addresses in it.
if control_is_asked; then connect "$CONTROL"; fi
for site in ${SITES/$CONTROL/}; do connect "$site"; done
step "the addresses that Argo CD connects from, which the other region's Kubernetes API will admit"
if control_is_asked; then
  make_addresses
else
  step "taken from CONTROL_ADDRESSES: $CONTROL_ADDRESSES"
fi
step "the regions, side by side"
in_regions make_region
