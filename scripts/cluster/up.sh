#!/usr/bin/env bash
# Starts a separate Kubernetes control plane on loopback: up.sh FOLDER [ZONE...]
# FOLDER gets `kubeconfig`, the logs, and `processes`, by which down.sh ends everything. Each zone has two application
# nodes and one system node. KWOK stands in for their kubelets, so pods become ready but run nothing. With
# KUBELETS=given, KWOK leaves the application nodes to the caller.
# shellcheck source=lib.sh
source "$(dirname "$0")/../lib.sh"
# shellcheck source=cluster/versions.sh
source "$ROOT/scripts/cluster/versions.sh"

folder=${1:?usage: up.sh FOLDER [ZONE...]}
shift
[ $# -gt 0 ] || set -- eu-south-2a eu-south-2b eu-south-2c
KUBELETS=${KUBELETS:-}
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
[ ! -e "$folder/processes" ] || die "$folder already has a control plane: end it with scripts/cluster/down.sh $folder"
: >"$folder/processes"
started=
trap '[ -n "$started" ] || "$ROOT/scripts/cluster/down.sh" "$folder"' EXIT

need openssl openssl
need curl curl

run() {
  local name=$1
  shift
  "$CLUSTER_BIN/$name" "$@" >"$folder/$name.log" 2>&1 &
  echo "$! $name" >>"$folder/processes"
}

# wait_for WHAT SECONDS COMMAND...
wait_for() {
  local what=$1 until=$((SECONDS + $2)) name
  name=${what%% *}
  shift 2
  until "$@" >/dev/null 2>&1; do
    if [ "$SECONDS" -ge "$until" ]; then
      tail -n 20 "$folder/$name.log" >&2 || true
      die "timed out waiting until $what; see $folder/$name.log"
    fi
    sleep 0.2
  done
}

etcd_port=$(free_port)
peer_port=$(free_port)
api_port=$(free_port)
manager_port=$(free_port)
scheduler_port=$(free_port)
kwok_port=$(free_port)
token=$(openssl rand -hex 16)
# The token of the user that argocd/rbac.yaml gives its rights to; EKS would admit it by an access entry.
deployer=$(openssl rand -hex 16)
(
  umask 077
  printf '%s,admin,admin,"system:masters"\n' "$token" >"$folder/tokens.csv"
  printf '%s,deployer,deployer,"payment-latency-api:deployers"\n' "$deployer" >>"$folder/tokens.csv"
  openssl genrsa -out "$folder/sa.key" 2048 2>/dev/null
  openssl rsa -in "$folder/sa.key" -pubout -out "$folder/sa.pub" 2>/dev/null
  cat >"$folder/kubeconfig" <<YAML
apiVersion: v1
kind: Config
current-context: local
clusters:
  - name: local
    cluster: {server: "https://127.0.0.1:$api_port", certificate-authority: "$folder/certs/apiserver.crt"}
users:
  - name: admin
    user: {token: "$token"}
  - name: deployer
    user: {token: "$deployer"}
contexts:
  - name: local
    context: {cluster: local, user: admin}
  - name: deployer
    context: {cluster: local, user: deployer}
YAML
)

# What is stored here is not needed after the run, so nothing has to reach a disk.
run etcd --data-dir "$folder/etcd" --unsafe-no-fsync --log-level warn \
  --listen-client-urls "http://127.0.0.1:$etcd_port" --advertise-client-urls "http://127.0.0.1:$etcd_port" \
  --listen-peer-urls "http://127.0.0.1:$peer_port" --initial-advertise-peer-urls "http://127.0.0.1:$peer_port" \
  --initial-cluster "default=http://127.0.0.1:$peer_port"
wait_for "etcd answers" 120 curl -sf "http://127.0.0.1:$etcd_port/health"
run kube-apiserver --etcd-servers "http://127.0.0.1:$etcd_port" --bind-address 127.0.0.1 --secure-port "$api_port" \
  --cert-dir "$folder/certs" --service-account-key-file "$folder/sa.pub" --service-account-signing-key-file "$folder/sa.key" \
  --service-account-issuer https://kubernetes.default.svc --token-auth-file "$folder/tokens.csv" \
  --authorization-mode RBAC --service-cluster-ip-range 10.0.0.0/24 --allow-privileged=true --v 1
export KUBECONFIG="$folder/kubeconfig"
kubectl() { "$CLUSTER_BIN/kubectl" "$@"; }
wait_for "kube-apiserver is ready" 180 kubectl get --raw /readyz
# On a busy machine KWOK's heartbeats are late. Once a node counted as lost, nothing would make its pods ready again.
run kube-controller-manager --kubeconfig "$KUBECONFIG" --service-account-private-key-file "$folder/sa.key" \
  --leader-elect=false --bind-address 127.0.0.1 --secure-port "$manager_port" --cert-dir "$folder/certs-manager" \
  --horizontal-pod-autoscaler-sync-period 2s --node-monitor-grace-period 1h
run kube-scheduler --kubeconfig "$KUBECONFIG" --leader-elect=false --bind-address 127.0.0.1 \
  --secure-port "$scheduler_port" --cert-dir "$folder/certs-scheduler"

node() {
  local name=$1 zone=$2 role=$3 taints='[]' conditions='[]'
  [ "$role" != application ] || taints='[{"key": "workload", "value": "application", "effect": "NoSchedule"}]'
  [ "$role" = application ] && [ "$KUBELETS" = given ] && conditions='[{"type": "Ready", "status": "True", "reason": "Given"}]'
  cat <<YAML
---
apiVersion: v1
kind: Node
metadata:
  name: $name
  annotations: {kwok.x-k8s.io/node: fake}
  labels:
    kubernetes.io/hostname: $name
    kubernetes.io/os: linux
    kubernetes.io/arch: amd64
    topology.kubernetes.io/zone: $zone
    topology.kubernetes.io/region: ${zone%?}
    workload: $role
spec:
  taints: $taints
status:
  conditions: $conditions
  allocatable: {cpu: "4", memory: 8Gi, pods: "58"}
  capacity: {cpu: "4", memory: 8Gi, pods: "58"}
YAML
}
for zone in "$@"; do
  for number in 1 2; do node "application-$zone-$number" "$zone" application; done
  node "system-$zone" "$zone" system
done | kubectl apply --server-side -f - >/dev/null
whose=(--manage-all-nodes=true)
[ "$KUBELETS" != given ] || whose=(--manage-all-nodes=false --manage-nodes-with-label-selector=workload=system)
run kwok --kubeconfig "$KUBECONFIG" "${whose[@]}" --server-address "127.0.0.1:$kwok_port" \
  --config "$CLUSTER_STORE/stages-$KWOK_VERSION.yaml" --config "$ROOT/scripts/cluster/stage-pod-test.yaml"
kubectl wait node --all --for condition=Ready --timeout 180s >/dev/null || die "not all nodes became ready within 180 s; see $folder/kwok.log"

for definitions in "external-secrets-$EXTERNAL_SECRETS_VERSION" "prometheus-operator-$PROMETHEUS_OPERATOR_VERSION" \
  "argo-cd-$ARGO_CD_VERSION"; do
  kubectl apply --server-side -f "$CLUSTER_STORE/crds-$definitions"
done >"$folder/crds.log"
kubectl wait crd --all --for condition=Established --timeout 180s >/dev/null || die "not all custom resource definitions were established within 180 s; see $folder/crds.log"
wait_for "kube-controller-manager has created the default service account" 180 kubectl get serviceaccount default --namespace default
started=yes
say "a control plane $KUBERNETES_VERSION with $(($# * 3)) nodes is running: export KUBECONFIG=$folder/kubeconfig"
