#!/usr/bin/env bash
# `make down`: tears both regions down: first what Argo CD deployed and the load balancers, then everything that
# Terraform created. It asks first, finds out what exists, and can be run again after any failure. It needs none of
# Terraform's outputs, which a half-destroyed region no longer has.
source "$(dirname "$0")/common.sh"
# shellcheck source=terraform.sh
source "$ROOT/scripts/phases/terraform.sh"
begin "down" "remove the applications, the load balancers, then what Terraform created" "" "$@"

# Audit records are locked until their retention ends. So their bucket and its key stay, also in Terraform's state, and
# the next `make up` uses them again. They must not depend on anything else, or they would be destroyed with it.
KEPT='^module\.audit\.module\.'
# Temporary errors of AWS: a resource that is being deleted still uses another one, requests are throttled, or a lock or
# a wait timed out.
RACES='DependencyViolation|has dependencies|InUse|in use|ResourceNotReady|OperationNotPermitted.*currently|Throttling|RequestLimitExceeded|Too Many Requests|timeout while waiting|state lock'

# If a site's terraform.tfvars already names another region, the site still runs in the former one, where its state is.
moved() {
  local site=$1 found
  if dry || [ -n "$TERRAFORM_OUTPUTS" ]; then return; fi
  found=$(aws_in "$site" s3api list-buckets --output text \
    --query "Buckets[?starts_with(Name, '$(operator state_bucket_prefix)-$site-')].Name")
  [[ -z $found || $found = None || " ${found//[[:space:]]/ } " = *" $(state_bucket "$site") "* ]] ||
    die "$site: its state is in bucket $found, but its terraform.tfvars names $(region "$site"): put the former region back, run make down, then move"
}

exists() { aws_in "$1" eks describe-cluster --name "$(cluster "$1")" --output json >/dev/null 2>"$WORK/$1.exists"; }

# Whether the cluster answers. If it exists but does not answer, its load balancers are removed all the same.
reachable() {
  if dry; then return; fi
  if [ "$CLUSTERS" = eks ]; then
    if ! exists "$1"; then
      grep -q ResourceNotFound "$WORK/$1.exists" || die "$1: cannot find out whether its cluster exists: $(tail -n 1 "$WORK/$1.exists")"
      step "$1 has no cluster"
      return 1
    fi
  fi
  # This machine may have no context, or a stale one.
  if [ "$CLUSTERS" = eks ]; then
    change aws_in "$1" eks update-kubeconfig --name "$(cluster "$1")" --alias "$1" >/dev/null || true
  fi
  kube "$1" --request-timeout=10s get --raw /readyz >/dev/null 2>&1 || {
    step "$1: the Kubernetes API does not answer; what its controllers left in AWS is removed through AWS"
    return 1
  }
}

# Has Argo CD remove what it deployed, in regions that can be reached. The ApplicationSet is removed first, or it would
# create the Applications again; a region that stays keeps its Application.
applications() {
  local site argocd=(kube "$CONTROL" --namespace argocd)
  step "removing the ApplicationSet, then the Applications"
  change "${argocd[@]}" delete applicationset "$PROJECT" --ignore-not-found --cascade=orphan 2>"$WORK/said" || {
    grep -qE "doesn't have a resource type|no matches for kind" "$WORK/said" ||
      die "$CONTROL: the ApplicationSet cannot be deleted: $(tail -n 1 "$WORK/said")"
    step "Argo CD is not installed"
    return
  }
  for site in $SITES; do
    dry || [ -e "$WORK/$site.reachable" ] || let_go "$site"
    remove "$CONTROL" "$APPLICATIONS_GO_S" argocd application "$PROJECT-$site" || {
      step "Argo CD does not finish deleting the Application of $site: removing the Application's finalizers"
      let_go "$site"
    }
  done
  for site in $SITES; do change "${argocd[@]}" delete secret "cluster-$site" --ignore-not-found; done
  if [[ " $SITES " = *" $CONTROL "* ]]; then
    change "${argocd[@]}" delete "appproject/$PROJECT" secret/repository --ignore-not-found
  elif dry || [ -n "$("${argocd[@]}" get application "$PROJECT-$CONTROL" --ignore-not-found --output name)" ]; then
    step "restoring the ApplicationSet for the region that stays"
    change kube "$CONTROL" apply --server-side --filename argocd/applicationset.yaml
  fi
}

let_go() {
  change kube "$CONTROL" --namespace argocd patch application "$PROJECT-$1" --type merge \
    --patch '{"metadata":{"finalizers":null}}' 2>/dev/null || true
}

# The controller removes a load balancer with its Ingress, and the driver removes a volume with its claim. What is left
# is removed through AWS, or with the cluster.
empty_cluster() {
  local site=$1
  step "removing Ingresses, the add-ons' volumes and the namespace"
  remove "$site" "$LOAD_BALANCERS_GO_S" "$NAMESPACE" ingress || step "an Ingress could not be removed"
  if ! skipped kube-prometheus-stack; then
    patiently "kube-prometheus-stack is uninstalled" change helm --kube-context "$site" uninstall kube-prometheus-stack \
      --namespace monitoring --ignore-not-found --wait || step "kube-prometheus-stack could not be uninstalled"
    remove "$site" 300 monitoring pvc || step "a volume claim could not be removed"
    (wait_until "no volume is left" 300 no_volumes "$site") || step "a volume may be left: look for it in EC2"
  fi
  [ "$site" = "$CONTROL" ] || change kube "$site" delete --filename argocd/rbac.yaml --ignore-not-found --wait=false ||
    step "the objects of argocd/rbac.yaml could not be removed"
  remove "$site" 300 default namespace "$NAMESPACE" || step "namespace $NAMESPACE could not be removed"
}

no_volumes() { SEEN=$(kube "$1" get pv --output name) && [ -z "$SEEN" ]; }

no_load_balancers() {
  SEEN=$(load_balancers "$1") || return 1
  case $SEEN in arn:*) return 1 ;; esac
}

# Removes what the cluster's controllers left in AWS. All of it is found by this cluster's tag, so nothing else is
# touched.
sweep() {
  local site=$1 name found
  step "removing what the cluster's controllers left in AWS"
  if dry; then return; fi
  name=$(cluster "$site")
  for found in $(load_balancers "$site"); do
    aws_in "$site" elbv2 delete-load-balancer --load-balancer-arn "$found"
  done
  for found in $(target_groups "$site"); do
    aws_in "$site" elbv2 delete-target-group --target-group-arn "$found" || true
  done
  # Interfaces that the nodes' network plug-in created and nothing uses any more.
  for found in $(aws_in "$site" ec2 describe-network-interfaces --filters "Name=tag:cluster.k8s.amazonaws.com/name,Values=$name" \
    Name=status,Values=available --query 'NetworkInterfaces[].NetworkInterfaceId' --output text); do
    [ "$found" = None ] || aws_in "$site" ec2 delete-network-interface --network-interface-id "$found" || true
  done
  for found in $(aws_in "$site" ec2 describe-security-groups --filters "Name=tag:elbv2.k8s.aws/cluster,Values=$name" \
    --query 'SecurityGroups[].GroupId' --output text); do
    [ "$found" = None ] || aws_in "$site" ec2 delete-security-group --group-id "$found" || true
  done
}

# Turns deletion protection off through AWS: an apply would first create again what an earlier tear-down has destroyed.
unprotect() {
  local site=$1 name
  name=$(cluster "$site")
  if dry || exists "$site"; then
    change aws_in "$site" eks update-cluster-config --name "$name" --no-deletion-protection >/dev/null 2>"$WORK/$site.said" || {
      ! grep -qiE 'unknown options|unrecognized arguments' "$WORK/$site.said" ||
        die "$site: this version of aws cannot turn a cluster's deletion protection off: install a newer one, then run make down again"
      step "$site: the cluster's deletion protection was not changed; if it is still on, terraform destroy will say so: $(tail -n 1 "$WORK/$site.said")"
    }
  fi
  if dry || aws_in "$site" rds describe-db-instances --db-instance-identifier "$name" >/dev/null 2>&1; then
    change aws_in "$site" rds modify-db-instance --db-instance-identifier "$name" --no-deletion-protection --apply-immediately >/dev/null
  fi
  if dry || aws_in "$site" ecr describe-repositories --repository-names "$PROJECT" >/dev/null 2>&1; then
    change aws_in "$site" ecr delete-repository --repository-name "$PROJECT" --force >/dev/null
  fi
}

# Sets TARGETS to -target arguments for everything in Terraform's state that must be destroyed: whole modules, but of
# the audit module only what is not kept.
targets() {
  local address
  TARGETS=()
  if dry; then
    TARGETS=(-target=EACH_MODULE_BUT_AUDIT_RECORDS)
    return
  fi
  tf "$1" state list >"$WORK/$1.state" 2>"$WORK/$1.said" ||
    grep -q 'No state file was found' "$WORK/$1.said" || die "$1: the state cannot be read: $(grep . "$WORK/$1.said" | tail -n 1)"
  while read -r address; do TARGETS+=("-target=$address"); done < <(
    grep -vE "$KEPT|(^|\.)data\." "$WORK/$1.state" | sed -E '/^module\.audit\./!s/^(module\.[a-z_]+)\..*/\1/' | sort -u)
}

# Terraform does not know a database that a restore has left behind. That database would still use its groups, and would
# be unreadable without its key.
no_copies() {
  local site=$1 found
  if dry; then return; fi
  found=$(aws_in "$site" rds describe-db-instances --output text \
    --query "DBInstances[?starts_with(DBInstanceIdentifier, '$(cluster "$site")-')].DBInstanceIdentifier")
  [[ -z $found || $found = None ]] ||
    die "$site: database ${found//[[:space:]]/, }, left over from a restore, still exists: delete it as in the last step of the runbook's restore, then run make down again"
}

destroy() {
  local site=$1 try
  if [ -n "$TERRAFORM_OUTPUTS" ]; then
    step "Terraform: skipped, because its outputs come from $TERRAFORM_OUTPUTS"
    return
  fi
  if ! dry && ! aws_in "$site" s3api head-bucket --bucket "$(state_bucket "$site")" >/dev/null 2>"$WORK/$site.said"; then
    grep -qE '404|Not Found|NoSuchBucket' "$WORK/$site.said" || die "$site: the state cannot be read: $(tail -n 1 "$WORK/$site.said")"
    step "Terraform has nothing to destroy: there is no state bucket"
    return
  fi
  no_copies "$site"
  connected "$site" || connect "$site"
  VARIABLES=("${INPUTS[@]}" -var=publish=false -var=deletion_protection=false)
  # Terraform needs a value, and Argo CD's addresses may no longer exist; this address is reserved for documentation.
  [ "$site" = "$CONTROL" ] || VARIABLES+=('-var=control_addresses=["192.0.2.1"]')
  [ -e terraform/rotation.zip ] || pack_rotation
  unprotect "$site"
  for ((try = 1; ; try++)); do
    targets "$site"
    [ ${#TARGETS[@]} -gt 0 ] || break
    if change tf "$site" destroy -input=false -no-color -auto-approve -lock-timeout=5m "${VARIABLES[@]}" "${TARGETS[@]}" 2>&1 |
      tee "$WORK/$site.destroy"; then
      break
    fi
    grep -qE "$RACES" "$WORK/$site.destroy" || die "$site: terraform destroy failed: its error is above"
    [ "$try" -lt "$DESTROY_TRIES" ] || die "$site: after $try tries, a resource is still in use or AWS is busy: wait, then run make down again (this often passes within the hour)"
    step "$site: a resource is still in use, or AWS is busy; try $((try + 1)) of $DESTROY_TRIES in $DESTROY_WAIT_S s"
    sleep "$DESTROY_WAIT_S"
    sweep "$site"
  done
  dry || step "$site is torn down"
}

# Removes log groups that AWS has created again for late lines: they would be in the way of the next `make up`.
late_logs() {
  local site=$1 name group
  name=$(cluster "$site")
  if dry || [ -n "$TERRAFORM_OUTPUTS" ]; then return; fi
  for group in "/aws/eks/$name/cluster" "/aws/lambda/$name-rotation" "/aws/vpc/$name/flow" "/aws/rds/proxy/$name" \
    "/aws/rds/instance/$name/postgresql" "/aws/rds/instance/$name/upgrade"; do
    aws_in "$site" logs delete-log-group --log-group-name "$group" >/dev/null 2>&1 || true
  done
}

take_down() {
  local site=$1
  if dry || [ -e "$WORK/$site.reachable" ]; then
    empty_cluster "$site"
    (wait_until "the controller has removed its load balancers" "$LOAD_BALANCERS_GO_S" no_load_balancers "$site") ||
      step "removing them through AWS instead"
  fi
  sweep "$site"
  wait_until "no load balancer is left" "$LOAD_BALANCERS_GO_S" no_load_balancers "$site"
  destroy "$site"
  late_logs "$site"
  if [ "$CLUSTERS" = eks ]; then change kubectl config delete-context "$site" >/dev/null 2>&1 || true; fi
}

# A region that stays without Argo CD still serves payments, but nothing is deployed or healed there any more.
STAY=
if [[ " $SITES " = *" $CONTROL "* ]]; then
  for data in terraform/environments/*/terraform.tfvars; do
    site=$(basename "$(dirname "$data")")
    [[ " $SITES " = *" $site "* ]] || STAY+="; $site, if it exists, continues without Argo CD, which runs in $CONTROL"
  done
fi
ask_first "This removes ${SITES// / and }: clusters, databases, images, secrets$STAY" "$PROJECT"
[ -e "$OPERATOR_FILE" ] || dry || [ -n "$TERRAFORM_OUTPUTS" ] || die "$OPERATOR_FILE is missing: restore it, since it names the buckets of Terraform's state"
for site in $SITES; do moved "$site"; done
for site in $SITES; do
  if reachable "$site"; then touch "$WORK/$site.reachable"; fi
done
if reachable "$CONTROL" >/dev/null; then applications; fi
in_regions take_down
step "what remains: final snapshots of the databases, the state buckets, and the locked audit records with their key"
