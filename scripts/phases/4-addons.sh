#!/usr/bin/env bash
# Phase 4: installs what the chart needs in each cluster, at the versions of addons/charts.txt, on the system nodes.
source "$(dirname "$0")/common.sh"
# shellcheck source=helm.sh
source "$ROOT/scripts/phases/helm.sh"
begin "phase 4" "add-ons in each cluster: load balancers, secrets, nodes, metrics, alerts" "make phase-5" "$@"

addons() {
  local site=$1 region cluster vpc balancers autoscaler
  region=$(fact "$site" region)
  cluster=$(fact "$site" cluster_name)
  vpc=$(fact "$site" vpc_id)
  balancers=$(fact "$site" load_balancer_role_arn)
  autoscaler=$(fact "$site" autoscaler_role_arn)

  # Terraform has EKS install metrics-server; without it nothing scales.
  skipped metrics-server || change kube "$site" --namespace kube-system rollout status deployment/metrics-server --timeout 5m
  # First, because the charts after it include a ServiceMonitor.
  if ! skipped kube-prometheus-stack; then
    change kube "$site" apply --server-side --filename "$ADDONS/storage-class.yaml"
    grafana_password "$site"
    chart kube-prometheus-stack "$site" --values "$ADDONS/kube-prometheus-stack.yaml"
  fi
  chart aws-load-balancer-controller "$site" --values "$ADDONS/aws-load-balancer-controller.yaml" \
    --set "clusterName=$cluster" --set "region=$region" --set "vpcId=$vpc" \
    --set serviceAccount.name=aws-load-balancer-controller --set-string "$(role serviceAccount "$balancers")"
  chart external-secrets "$site" --values "$ADDONS/external-secrets.yaml"
  chart cluster-autoscaler "$site" --values "$ADDONS/cluster-autoscaler.yaml" \
    --set "autoDiscovery.clusterName=$cluster" --set "awsRegion=$region" --set-string "$(role rbac.serviceAccount "$autoscaler")"
}

# Creates a random password and passes it through standard input; one that exists is kept.
grafana_password() {
  local site=$1 found password
  if ! dry; then
    found=$(kube "$site" --namespace monitoring get secret grafana-admin --ignore-not-found --output name)
    if [ -n "$found" ]; then return; fi
  fi
  password=$(random_key)
  {
    printf '{"apiVersion": "v1", "kind": "List", "items": [{"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "monitoring"}},'
    printf '{"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "grafana-admin", "namespace": "monitoring"},'
    printf '"stringData": {"user": "admin", "password": "%s"}}]}\n' "$password"
  } | change_by kube "$site" apply --server-side --filename -
}

load_all_outputs
in_regions addons
