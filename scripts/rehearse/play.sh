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

# What make status says, for `shows` to ask.
ask_status() { (cd "$CHECKOUT" && scripts/phases/status.sh --json </dev/null) >"$STAGE/status.json" || true; }
shows() {
  jq -e "$1" "$STAGE/status.json" >/dev/null || {
    jq . "$STAGE/status.json" >&2
    die "make status does not show: $1"
  }
}

all_well() {
  wait_until "make status calls both regions well" 90 well
  phase status
}

well() {
  ask_status
  SEEN=$(jq -r '[to_entries[] | select(.key != "well") | .key as $site | .value | to_entries[] | select(.value.state != "ok") |
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

# calling FUNCTION: FUNCTION while somebody pays in each region; nobody may be refused, and the service may not restart.
calling() {
  local site before=()
  for site in $SITES; do
    before+=("$(cat "$STAGE/$site/service.pid")")
    key_of "$site" >"$STAGE/$site/caller.key"
    launch "$STAGE/$site" caller.py "$CHART_PYTHON" -B scripts/rehearse/caller.py "$(of_site "$site" PAYMENTS_URL)" "$STAGE/$site/caller.key"
    echo "$!" >"$STAGE/$site/caller.pid"
  done
  "$1"
  for site in $SITES; do callers_end "$site"; done
  [ "${before[*]}" = "$(for site in $SITES; do cat "$STAGE/$site/service.pid"; echo; done | grep . | paste -sd ' ')" ] || die "a service was restarted"
}

callers_end() {
  local caller said
  caller=$(cat "$STAGE/$1/caller.pid")
  kill -TERM "$caller"
  wait "$caller" || true
  said=$(cat "$STAGE/$1/caller.py.log")
  jq -e '.paid > 20 and .failed == []' <<<"$said" >/dev/null || die "$1: the caller says: $said"
  say "$1: $(jq .paid <<<"$said") payments meanwhile, none failed"
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

# ---- A release

new_version() {
  local version site
  version="$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)-rehearsal"
  (
    cd "$CHECKOUT" || exit 1
    scripts/version-set.sh "$version"
    git commit --quiet --all --message "Version $version"
  )
  phase phase-3
  phase phase-7
  for site in $SITES; do
    wait_until "$site runs $version" 120 runs "$site" "$version"
    say "$site runs $version"
  done
  all_well
}

runs() {
  SEEN=$(curl --silent --max-time 5 "$(of_site "$1" PAYMENTS_URL)/info" | jq -r .version) && [ "$SEEN" = "$2" ]
}

# ---- Rotations

rotate_keys() {
  local site
  for site in $SITES; do key_of "$site" >"$STAGE/$site/old.key"; done
  calling rotate_keys_meanwhile
  for site in $SITES; do wait_until "$site refuses the old key" 60 refuses "$site" "$(cat "$STAGE/$site/old.key")"; done
}

# The rotation asks before it takes the old keys out. Unanswered, it stops there; callers change over; then it goes on.
rotate_keys_meanwhile() {
  local site
  if CONFIRM='' phase rotate-api-key >"$STAGE/rotation.log" 2>&1; then die "the rotation did not ask before it took the old keys out"; fi
  cat "$STAGE/rotation.log"
  grep -q 'that is asked first' "$STAGE/rotation.log" || die "the rotation stopped for another reason"
  for site in $SITES; do key_of "$site" >"$STAGE/$site/caller.key"; done
  # A caller that reads the old key now uses it before it is taken out.
  phase rotate-api-key
}

refuses() {
  SEEN=$(pay "$1" 1 "$2" fresh) || true
  [ "${SEEN%% *}" = 401 ]
}

# The service finds the new password by itself, before a connection's end makes it need one.
rotate_passwords() {
  local site
  calling rotate_passwords_meanwhile
  for site in $SITES; do
    sql "$site" "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'payments_api'" >/dev/null
    wait_until "$site pays by new connections" 30 pays "$site"
    say "$site pays by new connections, which only the new password opens"
  done
}

rotate_passwords_meanwhile() {
  local site fresh secret
  for site in $SITES; do
    fresh=$(openssl rand -hex 24)
    echo "$fresh" >"$STAGE/$site/fresh"
    secret=$(login payments_api "$fresh" "$(cat "$STAGE/$site/dev/port")")
    sql "$site" "ALTER ROLE payments_api PASSWORD '$fresh'"
    aws_in "$site" secretsmanager put-secret-value --secret-id "$PROJECT/production/database" --secret-string "$secret" --query Name --output text
  done
  for site in $SITES; do wait_until "$site's service has the new password in its files" 120 has_file "$site" "$(cat "$STAGE/$site/fresh")"; done
}

# The files of the process that runs, not of one before it.
has_file() {
  local service
  service=$(cat "$STAGE/$1/service.pid")
  grep -q -- "$2" "/proc/$service/root/run/payment-latency-api/secrets/database_url"
}

pays() {
  local key
  key=$(key_of "$1")
  SEEN=$(pay "$1" 1 "$key") || true
  [ "${SEEN%% *}" = 200 ]
}

# ---- Down and up

take_down() {
  phase down
  local site left
  for site in $SITES; do
    left=$(kube "$site" get "namespace/$NAMESPACE" "clusterrole/$PROJECT-deployer" "clusterrolebinding/$PROJECT-deployer" --ignore-not-found --output name)
    [ -z "$left" ] || die "$site still has ${left//$'\n'/, }"
    wait_until "$site's service has ended" 60 port_is_free "$(cat "$STAGE/$site/payments.port")"
  done
  left=$(kube spain --namespace argocd get applications,applicationsets,appprojects,secrets --output name |
    grep -vE '/(argocd-secret|default)$' || true)
  [ -z "$left" ] || die "Argo CD still has ${left//$'\n'/, }"
}

up_again() {
  authority
  phase up
  payments
}

interrupted_up() {
  local number
  phase down
  authority
  for number in 0 1 2 3 4 5 6; do interrupted_after "$number"; done
  phase up
  all_well
}

# In a process group of its own, which gets what Ctrl-C would send.
interrupted_after() {
  local log="$STAGE/up-$1.log" code=0
  set -m
  phase up >"$log" 2>&1 &
  UP=$!
  set +m
  wait_until "phase $1 is over" 300 is_over "$1" "$log"
  kill -INT -- "-$UP"
  wait "$UP" || code=$?
  UP=
  [ "$code" != 0 ] || die "make up came to its end, though it was interrupted after phase $1"
  say "interrupted after phase $1"
}

is_over() {
  kill -0 "$UP" 2>/dev/null || die "make up ended before phase $1 did: $(tail -n 5 "$2")"
  grep -q "^== phase $1 took" "$2"
}

# ---- The end of a region

kill_spain() {
  SITES=mexico calling kill_spain_meanwhile
  ask_status
  shows '.mexico | .nodes.state == "ok" and .pods.state == "ok" and .endpoint.state == "ok" and .payments.state == "ok"'
  shows '.spain | .nodes.state != "ok" and .endpoint.state != "ok" and .payments.state != "ok"'
}

kill_spain_meanwhile() {
  local process
  while read -r process _; do kill -KILL "$process" 2>/dev/null || true; done <"$STAGE/spain/processes"
  kill -KILL "$(head -n 1 "$(at spain scripts/postgres.sh folder)/data/postmaster.pid")"
  sleep 5
  # What a region does by itself goes on: its secrets, its cluster.
  CONFIRM='' phase rotate-api-key SITES=mexico >"$STAGE/rotation.log" 2>&1 || true
  grep -q 'that is asked first' "$STAGE/rotation.log" || die "Mexico's key cannot be rotated without Spain: $(cat "$STAGE/rotation.log")"
  key_of mexico >"$STAGE/mexico/caller.key"
  phase rotate-api-key SITES=mexico
}
