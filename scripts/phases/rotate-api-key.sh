#!/usr/bin/env bash
# `make rotate-api-key`: puts a new API key into each region, with the old one valid until it has reached every pod and
# the callers have changed over. The secret says how far a rotation is (NEW,OLD or one key), so an interrupted rotation
# can continue.
source "$(dirname "$0")/common.sh"
begin "rotate-api-key" "a new API key, both valid in between" "" "$@"

# Enough payments, each on a connection of its own, for the load balancer to have asked every pod.
PAYMENTS=100

# An interrupted rotation is brought to its end before another one begins.
under_way() {
  local site keys begun=
  for site in $SITES; do
    keys=$(current "$site")
    if [[ $keys == *,* ]]; then begun+=" $site"; fi
  done
  [ -n "$begun" ] || return 0
  SITES=${begun# }
  step "going on with the rotation that was begun in ${SITES// / and }, and in no other region"
}

# Puts a new key into the secret, before the old one.
add() {
  local site=$1 keys key
  keys=$(current "$site")
  if [[ $keys != *,* ]]; then
    key=$(random_key)
    put_keys "$site" "$key,$keys"
    step "the secret holds the new key and the old one"
  fi
  arrive "$site"
}

# Takes the old key out of the secret.
withdraw() {
  local site=$1 keys
  keys=$(current "$site")
  put_keys "$site" "${keys%%,*}"
  step "the secret holds the new key alone"
  refresh "$site"
}

# The keys as they are, with a comma between two.
current() {
  local keys
  if dry; then return; fi
  keys=$(api_keys "$1") || die "$1: the key cannot be read: make phase-5 makes one where there is none"
  [ -n "$keys" ] || die "$1: the secret is empty: make phase-5"
  printf '%s' "${keys//$'\n'/,}"
}

# Makes External Secrets fetch at once, instead of within the hour, and waits until the cluster's Secret has what
# Secrets Manager has.
refresh() {
  local site=$1
  change kube "$site" --namespace "$NAMESPACE" annotate externalsecret "$PROJECT-api-key" "force-sync=$(date +%s)" --overwrite >/dev/null
  wait_until "External Secrets has brought it to the cluster" "$KEY_WAIT_S" fetched "$site"
}

fetched() {
  local here there
  here=$(kube "$1" --namespace "$NAMESPACE" get secret "$PROJECT-api-key" --output 'jsonpath={.data.api_key}' | base64 -d | digest) || return 1
  there=$(api_keys "$1" | digest) || return 1
  [ "$here" = "$there" ]
}

digest() { tr '\n' ',' | sed 's/,$//' | openssl dgst -sha256; }

# Waits until every pod takes the new key: the kubelet has had its time, and no payment is refused.
arrive() {
  local site=$1
  refresh "$site"
  if ! dry; then sleep "$KUBELET_S"; fi
  wait_until "every pod takes the new key" "$KEY_WAIT_S" accepted "$site"
  dry || step "$PAYMENTS payments with the new key, none refused"
}

accepted() {
  local keys paid
  keys=$(current "$1")
  paid=$(pay "$1" "$PAYMENTS" "${keys%%,*}" fresh | grep -c '^200 ') || true
  SEEN="$paid of $PAYMENTS payments"
  [ "$paid" = "$PAYMENTS" ]
}

load_all_outputs
under_way
in_regions add
step "callers change over now: aws secretsmanager get-secret-value shows the new key, the first of the two"
ask_first "The old key is taken out next; whoever still uses it is refused (both are valid until then)" changed
in_regions withdraw
