#!/usr/bin/env bash
# Phase 1: makes both regions in AWS by Terraform: first the addresses that Argo CD will come from, then both side by
# side.
source "$(dirname "$0")/common.sh"
# shellcheck source=terraform.sh
source "$ROOT/scripts/phases/terraform.sh"
begin "phase 1" "both regions in AWS, by Terraform" "make phase-2" "$@"

# AWS makes each of these roles with the first call that needs it, and refuses that very call while the role is not
# known everywhere yet: a group of nodes, for example, then stays failed. A key's policy names Auto Scaling's role, too.
# The roles belong to the account, so they are asked for in us-east-1, where IAM is.
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
    step "service-linked role $role, once an account"
    change aws_in "$CONTROL" --region us-east-1 iam create-service-linked-role --aws-service-name "$service.amazonaws.com" >/dev/null </dev/null
  done <<<"$LINKED_ROLES"
}

# Secrets of a region that was taken down keep their names for seven days. Making the region anew deletes them for good.
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

# Makes the addresses before the other region is told of them. If some would go, a gateway still holds them, and the
# whole plan, which removes the gateway first, has to do it.
make_addresses() {
  local plan="$WORK/addresses.plan" doomed
  change tf "$CONTROL" plan -input=false -no-color -lock-timeout=5m -out="$plan" -target=module.vpc.aws_eip.nat "${INPUTS[@]}"
  if ! dry; then
    doomed=$(doomed "$CONTROL" "$plan")
    if [ -n "$doomed" ]; then
      step "some would go, with the gateways that hold them; the other region forgets them at the make phase-1 after this one"
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
  step "skipped: the outputs come from $TERRAFORM_OUTPUTS"
  exit
fi
[ -e "$OPERATOR_FILE" ] || dry || die "$OPERATOR_FILE is missing: make phase-0"
step "packing the function that rotates the database's logins"
pack_rotation
linked_roles
step "connecting with the state of each region"
# Mexico needs Spain's state, too, for the addresses in it.
if control_is_asked; then connect "$CONTROL"; fi
for site in ${SITES/$CONTROL/}; do connect "$site"; done
step "the addresses that Argo CD comes from, which the other region's Kubernetes API will let in"
if control_is_asked; then
  make_addresses
else
  step "as CONTROL_ADDRESSES says: $CONTROL_ADDRESSES"
fi
step "both regions side by side"
in_regions make_region
