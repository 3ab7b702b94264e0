#!/usr/bin/env bash
# Phase 7: deploys the application in both regions through Argo CD, publishes its host names in Route 53, and makes a
# payment through each.
source "$(dirname "$0")/common.sh"
# shellcheck source=terraform.sh
source "$ROOT/scripts/phases/terraform.sh"
begin "phase 7" "the applications, until each has served a payment at its public address" "make status" "$@"

# Whether Argo CD has deployed the branch's newest commit in the region and finds it healthy.
settled() {
  local site=$1 wanted found state sync health revision message held
  wanted=$(git ls-remote "$URL" "refs/heads/$RELEASE_BRANCH" 2>/dev/null | cut -f 1)
  found=$(kube "$CONTROL" --namespace argocd get application "$PROJECT-$site" --output json 2>/dev/null) || found=""
  held=$(held <<<"$found")
  state=$(jq -r '
    [.status.sync.status // "Unknown", .status.health.status // "Unknown", .status.sync.revision // "-",
     ([.status.conditions[]? | select(.type | endswith("Error")) | .message] + [.status.operationState | select(.phase == "Failed" or .phase == "Error") | .message]
      | first // "" | gsub("\\s+"; " ") | .[:300])] | join("\u001f")' <<<"$found") || true
  IFS=$'\x1f' read -r sync health revision message <<<"${state:-Unknown}"
  SEEN="$sync, ${health:-no Application yet}${held:+, held at $held}${message:+: $message}"
  [ "$sync" = Synced ] && [ "$health" = Healthy ] && [ "$revision" = "$wanted" ]
}

wait_for_application() {
  local site=$1
  wait_until "$PROJECT-$site is Synced and Healthy" "$APPLICATIONS_WAIT_S" settled "$site"
  dry || step "$SEEN"
}

publish() {
  if [ -n "$TERRAFORM_OUTPUTS" ]; then
    step "host name: skipped, because Terraform's outputs come from $TERRAFORM_OUTPUTS"
  else
    apply "$1"
  fi
}

# Whether a payment is answered with 200; LINE then has its latency.
paid() {
  local site=$1 code
  LINE=$(pay "$site" 1 "$KEY" 2>/dev/null) || true
  code=${LINE%% *}
  case $code in
    200) return ;;
    000 | '') SEEN="no answer yet from $(address "$site")" ;;
    401) SEEN="status 401: the secret in Secrets Manager holds no key" ;;
    403) SEEN="status 403: the pods do not have the key from Secrets Manager yet" ;;
    *) SEEN="status $code" ;;
  esac
  return 1
}

first_payment() {
  local site=$1 address keys whole open own
  address=$(address "$site")
  keys=$(if dry; then echo; else api_keys "$site"; fi)
  KEY=${keys%%[,$'\n']*}
  wait_until "a payment is served at $address" "$PAYMENT_WAIT_S" paid "$site"
  dry && return
  read -r _ open whole own <<<"$LINE"
  step "$address: paid in $whole ms; $open ms without opening the connection, $own ms of that in the service"
}

load_all_outputs
load_outputs "$CONTROL"
URL=$(fact "$CONTROL" git_repository)
step "the ApplicationSet, which creates an Application for each registered region"
change kube "$CONTROL" apply --server-side --filename argocd/applicationset.yaml
for site in $SITES; do
  # Makes Argo CD read git now instead of within minutes. The first time there is no Application yet.
  change kube "$CONTROL" --namespace argocd annotate application "$PROJECT-$site" argocd.argoproj.io/refresh=normal --overwrite >/dev/null 2>&1 || true
done
in_regions wait_for_application
step "the host names, now that load balancers exist"
in_regions publish
step "a payment through each public address"
in_regions first_payment
