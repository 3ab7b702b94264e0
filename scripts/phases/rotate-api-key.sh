#!/usr/bin/env bash
# `make rotate-api-key`: puts a new API key into each region, with the old one valid until it has reached every pod and
# the callers have changed over. The secret shows how far a rotation has got (NEW,OLD or one key), so an interrupted
# rotation can continue.
source "$(dirname "$0")/common.sh"
begin "rotate-api-key" "a new API key; both keys are valid in between" "" "$@"

# Enough payments, each on its own connection, for the load balancer to reach every pod.
PAYMENTS=100

# An interrupted rotation is finished before another one begins.
under_way() {
  local site keys begun=
  for site in $SITES; do
    keys=$(current "$site")
    if [[ $keys == *,* ]]; then begun+=" $site"; fi
  done
  [ -n "$begun" ] || return 0
  SITES=${begun# }
  step "continuing the rotation that was started in ${SITES// / and }; no other region is rotated"
}

# Puts a new key into the secret, before the old one.
add() {
  local site=$1 keys key
  keys=$(current "$site")
  if [[ $keys != *,* ]]; then
    key=$(random_key)
    put_keys "$site" "$key,$keys"
    step "the secret has the new key and the old one"
  fi
  arrive "$site"
}

# Removes the old key from the secret.
withdraw() {
  local site=$1 keys
  keys=$(current "$site")
  put_keys "$site" "${keys%%,*}"
  step "the secret has only the new key"
  refresh "$site"
}

# The keys as they are, separated by a comma if there are two.
current() {
  local keys
  if dry; then return; fi
  keys=$(api_keys "$1") || die "$1: the key cannot be read: if there is none yet, run make phase-5"
  [ -n "$keys" ] || die "$1: the secret is empty: run make phase-5"
  printf '%s' "${keys//$'\n'/,}"
}

# Makes External Secrets fetch at once, instead of within the hour, and waits until the cluster's Secret has what
# Secrets Manager has.
refresh() {
  local site=$1
  change kube "$site" --namespace "$NAMESPACE" annotate externalsecret "$PROJECT-api-key" "force-sync=$(date +%s)" --overwrite >/dev/null
  wait_until "External Secrets has copied the change into the cluster" "$KEY_WAIT_S" fetched "$site"
}

fetched() {
  local here there
  here=$(kube "$1" --namespace "$NAMESPACE" get secret "$PROJECT-api-key" --output 'jsonpath={.data.api_key}' | base64 -d | digest) || return 1
  there=$(api_keys "$1" | digest) || return 1
  [ "$here" = "$there" ]
}

digest() { tr '\n' ',' | sed 's/,$//' | openssl dgst -sha256; }

# Waits until every pod accepts the new key: the kubelet has had its time, and no payment is refused.
arrive() {
  local site=$1
  refresh "$site"
  if ! dry; then sleep "$KUBELET_S"; fi
  wait_until "every pod accepts the new key" "$KEY_WAIT_S" accepted "$site"
  dry || step "$PAYMENTS payments with the new key, none refused"
}

accepted() {
  local keys paid
  keys=$(current "$1")
  paid=$(pay "$1" "$PAYMENTS" "${keys%%,*}" fresh | grep -c '^200 ') || true
  SEEN="$paid of $PAYMENTS payments accepted"
  [ "$paid" = "$PAYMENTS" ]
}

load_all_outputs
under_way
in_regions add
step "have the callers change over now: aws secretsmanager get-secret-value shows the new key, the first of the two"
ask_first "The old key is removed next, and callers that still use it are then refused (until then both are valid)" changed
in_regions withdraw
