# shellcheck shell=bash
# The steps, each of which fails by itself if it does not hold; sourced by rehearse.sh, never run.

# The same phases as for AWS, in a clone of this commit.
phase() { (cd "$CHECKOUT" && make --no-print-directory "$@" </dev/null); }

key_of() {
  local keys name
  name=$(jq -re .facts.value.api_key_secret "$TERRAFORM_OUTPUTS/$1.json") || return 1
  keys=$(aws_in "$1" secretsmanager get-secret-value --secret-id "$name" --query SecretString --output text) || return 1
  printf '%s' "${keys%%,*}"
}

ask_status() { (cd "$CHECKOUT" && scripts/phases/status.sh --json </dev/null) >"$STAGE/status.json" || true; }
# moto does not speak the protocol in which the aws client asks CloudWatch, so that part cannot be read here.
all_well() {
  wait_until "make status calls both regions well, but for AWS's alarms" 90 well
  phase status || true
}

well() {
  ask_status
  SEEN=$(jq -r '[to_entries[] | select(.key != "well") | .key as $site | .value | to_entries[] | select(.value.state != "ok" and .key != "alarms") |
    "\($site) \(.key): \(.value.text)"] | join("; ")' "$STAGE/status.json") && [ -z "$SEEN" ]
}

# ---- Phases with something of their own

# An authority of one's own has to be there before the first sync; Amazon's are compiled in.
authority() {
  local site
  for site in $SITES; do
    kube "$site" create namespace "$NAMESPACE" --dry-run=client --output json | kube "$site" apply --server-side --filename - >/dev/null
    kube "$site" --namespace "$NAMESPACE" create configmap authority --from-file "ca.pem=$STAGE/$site/dev/secrets/ca.crt" \
      --dry-run=client --output json | kube "$site" apply --server-side --filename - >/dev/null
  done
}

image() {
  phase phase-3
  local site digests
  digests=$(for site in $SITES; do sed -n 's/^  digest: //p' "$CHECKOUT/argocd/releases/$site.yaml"; done | sort -u)
  [[ $digests =~ ^\"sha256:[0-9a-f]{64}\"$ ]] || die "the regions have no one digest: $digests"
  [ "$(git ls-remote "$GIT_URL" refs/heads/main | cut -f 1)" = "$(git -C "$CHECKOUT" rev-parse HEAD)" ] || die "the release was not pushed"
}

migrations() {
  local site
  authority
  for site in $SITES; do
    python_at "$site" migrate "$CHECKOUT" "$TERRAFORM_OUTPUTS/$site.json"
    [ "$(sql "$site" "SELECT count(*) FROM payments")" = 0 ] || die "$site: there is no empty table of payments"
  done
}

# ---- Payments

# A payment of a region, and where it is written down.
payments() {
  local site other id url binary answer key
  for site in $SITES; do
    url=$(of_site "$site" PAYMENTS_URL)
    key=$(key_of "$site")
    answer=$(printf 'header = "X-API-Key: %s"\n' "$key" | curl --config - --silent --show-error --fail "$url/api/payment/simulate")
    id=$(jq -re .transaction_id <<<"$answer")
    [ "$(jq -re .region <<<"$answer")" = "$(region "$site")" ] || die "$site answers for another region: $answer"
    for other in $SITES; do
      [ "$(sql "$other" "SELECT count(*) FROM payments WHERE transaction_id = '$id'")" = "$([ "$other" = "$site" ] && echo 1 || echo 0)" ] ||
        die "$other: the table has not what it should have of the payment in $site"
    done
    say "$site: $answer"
    binary=$(find "$STAGE/$site/images" -name "$PROJECT" -type f | head -n 1)
    "$binary" probe "$url/api/payment/simulate" --rate 50 --count 250 --header "X-API-Key: $key"
  done
}

# ---- Drift

drift() {
  local wanted
  wanted=$(kube mexico --namespace "$NAMESPACE" get configmap "$PROJECT" --output 'jsonpath={.data.WAITERS_MAX}')
  kube mexico --namespace "$NAMESPACE" patch configmap "$PROJECT" --type merge --patch '{"data": {"WAITERS_MAX": "1"}}'
  kube mexico --namespace "$NAMESPACE" delete poddisruptionbudget "$PROJECT"
  kube spain --namespace "$NAMESPACE" delete service "$PROJECT"
  wait_until "Mexico's ConfigMap, its disruption budget and Spain's Service are as they were" 120 healed "$wanted"
  all_well
}

healed() {
  [ "$(kube mexico --namespace "$NAMESPACE" get configmap "$PROJECT" --output 'jsonpath={.data.WAITERS_MAX}')" = "$1" ] &&
    kube mexico --namespace "$NAMESPACE" get poddisruptionbudget "$PROJECT" >/dev/null 2>&1 &&
    kube spain --namespace "$NAMESPACE" get service "$PROJECT" >/dev/null 2>&1
}
