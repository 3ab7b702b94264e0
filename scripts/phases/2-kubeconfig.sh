#!/usr/bin/env bash
# Phase 2: creates a kubectl context for each region, named after it.
source "$(dirname "$0")/common.sh"
begin "phase 2" "kubectl contexts ${SITES// / and }" "make phase-3" "$@"

answers() { kube "$1" --request-timeout=10s get --raw /readyz >"$WORK/said" 2>&1; }

load_all_outputs
for site in $SITES; do
  if [ "$CLUSTERS" = eks ]; then
    name=$(fact "$site" cluster_name)
    change aws_in "$site" eks update-kubeconfig --name "$name" --alias "$site"
  else
    step "context $site: taken from KUBECONFIG"
  fi
done
dry && exit
for site in $SITES; do
  kubectl config get-contexts "$site" >/dev/null 2>&1 || die "kubectl has no context $site"
  answers "$site" ||
    die "the Kubernetes API of $site does not answer: is your address in operator_cidrs, and your role in administrators ($OPERATOR_FILE)? $(tail -n 1 "$WORK/said")"
  step "$site: $(kube "$site" get nodes --no-headers 2>/dev/null | grep -cw Ready) nodes are ready"
done
