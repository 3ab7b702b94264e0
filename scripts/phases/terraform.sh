# shellcheck shell=bash
# What phases 1 and 7 and `make down` do with Terraform; sourced after common.sh, never run.

INPUTS=("-var-file=$(realpath -m "$OPERATOR_FILE")" "-var=rotation_package=$ROOT/terraform/rotation.zip")

pack_rotation() { change scripts/rotation-package.sh terraform/rotation.zip; }

# Sets VARIABLES to a region's variables: the operator's, and those that the scripts decide.
region_variables() {
  local site=$1 addresses=[] balancers
  VARIABLES=("${INPUTS[@]}")
  if [ "$site" != "$CONTROL" ]; then
    addresses=$(control_addresses)
    VARIABLES+=("-var=control_addresses=$addresses")
  fi
  # The host name points to the load balancer if there is one, whichever phase asks.
  if dry; then
    VARIABLES+=(-var=publish=WHETHER_A_LOAD_BALANCER_EXISTS)
  else
    balancers=$(load_balancers "$site")
    case $balancers in arn:*) VARIABLES+=(-var=publish=true) ;; *) VARIABLES+=(-var=publish=false) ;; esac
  fi
}

# Whether Spain's state is read for the addresses that Argo CD connects from. CONTROL_ADDRESSES replaces it while Spain
# is unavailable.
control_is_asked() { [[ " $SITES " = *" $CONTROL "* ]] || [ -z "$CONTROL_ADDRESSES" ]; }

# The addresses that Argo CD connects from, as JSON.
control_addresses() {
  if ! control_is_asked; then
    echo "$CONTROL_ADDRESSES"
  elif dry; then
    echo '["NAT_ADDRESSES"]'
  else
    tf "$CONTROL" output -json nat_addresses
  fi
}

apply() {
  region_variables "$1"
  [ -e terraform/rotation.zip ] || pack_rotation
  plan_and_apply "$1" "${VARIABLES[@]}"
}

# doomed SITE PLAN: what the plan would remove or replace. A pause does not count: the cluster's is replaced with every
# version of Kubernetes.
doomed() {
  tf "$1" show -json "$2" | jq -r '.resource_changes[]? |
    select(.type != "time_sleep" and (.change.actions | index("delete"))) | .address'
}

# plan_and_apply SITE ARGUMENTS...: stops at a plan that removes or replaces something, and names it, unless
# CONFIRM=yes.
plan_and_apply() {
  local site=$1 plan="$WORK/$1.plan" doomed
  change tf "$site" plan -input=false -no-color -lock-timeout=5m -out="$plan" "${@:2}"
  if ! dry; then
    doomed=$(doomed "$site" "$plan")
    if [ -n "$doomed" ] && [ "$CONFIRM" != yes ]; then
      die "the plan would remove or replace the following; if that is intended, run it again with CONFIRM=yes: ${doomed//$'\n'/, }"
    fi
  fi
  change tf "$site" apply -input=false -no-color -lock-timeout=5m "$plan"
}
