#!/usr/bin/env bash
# Phase 6: installs Argo CD in Spain, and registers both regions by cluster Secrets with Terraform's facts as
# annotations.
source "$(dirname "$0")/common.sh"
# shellcheck source=helm.sh
source "$ROOT/scripts/phases/helm.sh"
begin "phase 6" "Argo CD in Spain, with both regions registered" "make phase-7" "$@"

install() {
  local site=$1 role
  role=$(fact "$site" argocd_role_arn)
  chart argo-cd "$site" --values argocd/values.yaml --set-string "$(role controller.serviceAccount "$role")" \
    --set-string "$(role server.serviceAccount "$role")"
}

# The rights of Argo CD in a region that it logs in to with a role.
rights() {
  local site
  for site in $SITES; do
    [ "$site" = "$CONTROL" ] || change kube "$site" apply --server-side --filename argocd/rbac.yaml
  done
}

# A region's API server and how Argo CD logs in to it, as JSON.
way_in() {
  local site=$1 endpoint authority cluster deployer context
  if dry; then
    echo '{"server": "", "config": {}}'
  elif [ "$CLUSTERS" = given ]; then
    # The credentials of the kubeconfig: a token or a client's certificate.
    context=$(of_site "$site" ARGOCD_CONTEXT)
    kubectl config view --raw --flatten --minify --context "${context:-$site}" --output json | jq -c '
      .clusters[0].cluster as $cluster | .users[0].user as $user | {server: $cluster.server, config: ({
        bearerToken: $user.token,
        tlsClientConfig: ({insecure: false, caData: $cluster["certificate-authority-data"],
          certData: $user["client-certificate-data"], keyData: $user["client-key-data"]} | with_entries(select(.value != null)))
      } | with_entries(select(.value != null)))}'
  elif [ "$site" = "$CONTROL" ]; then
    echo '{"server": "https://kubernetes.default.svc", "config": {"tlsClientConfig": {"insecure": false}}}'
  else
    endpoint=$(fact "$site" cluster_endpoint)
    authority=$(fact "$site" cluster_ca)
    cluster=$(fact "$site" cluster_name)
    deployer=$(fact "$site" deployer_role_arn)
    jq -nc --arg server "$endpoint" --arg ca "$authority" --arg cluster "$cluster" --arg role "$deployer" '{
      server: $server, config: {awsAuthConfig: {clusterName: $cluster, roleARN: $role}, tlsClientConfig: {insecure: false, caData: $ca}}}'
  fi
}

# argocd/README.md describes this Secret. Its configuration may contain a token, so all of it goes through standard
# input.
cluster_secret() {
  local site=$1 facts='{}'
  if [ -e "$WORK/$site.json" ]; then facts=$(output "$site" facts); fi
  way_in "$site" | jq -c --arg site "$site" --arg namespace "$NAMESPACE" --arg revision "$RELEASE_BRANCH" --argjson facts "$facts" '{
    apiVersion: "v1", kind: "Secret",
    metadata: {
      name: ("cluster-" + $site), namespace: "argocd",
      labels: {"argocd.argoproj.io/secret-type": "cluster", "app.kubernetes.io/part-of": "payment-latency-api"},
      annotations: ($facts + {git_revision: $revision} | map_values(tostring))
    },
    data: ({name: $site, server: .server, namespaces: $namespace, clusterResources: "true", config: (.config | tojson)} | map_values(@base64))
  }' | change_by kube "$CONTROL" apply --server-side --force-conflicts --filename -
}

# Credentials for a private repository.
repository() {
  local url file=()
  [ -z "$GIT_TOKEN_FILE" ] || file=("--from-file=password=$GIT_TOKEN_FILE" --from-literal=username=git)
  [ -z "$GIT_SSH_KEY_FILE" ] || file=("--from-file=sshPrivateKey=$GIT_SSH_KEY_FILE")
  [ ${#file[@]} -gt 0 ] || return 0
  url=$(fact "$CONTROL" git_repository)
  step "the repository's credentials, from ${file[0]#*=*=}"
  if dry; then return; fi
  kubectl create secret generic repository --namespace argocd --dry-run=client --output json \
    --from-literal=type=git "--from-literal=url=$url" "${file[@]}" |
    jq '.metadata.labels = {"argocd.argoproj.io/secret-type": "repository"}' |
    change_by kube "$CONTROL" apply --server-side --filename -
}

# The project, with this repository as its only source.
project() {
  local url
  url=$(fact "$CONTROL" git_repository)
  sed "s|^  sourceRepos: \[\]$|  sourceRepos: [\"$url\"]|" argocd/project.yaml |
    change_by kube "$CONTROL" apply --server-side --force-conflicts --filename -
}

load_all_outputs
load_outputs "$CONTROL"
SITES=$CONTROL in_regions install
step "Argo CD's rights in the other region"
rights
for site in $SITES; do
  step "cluster Secret of $site"
  cluster_secret "$site"
done
repository
step "the project, with this repository as its source"
project
