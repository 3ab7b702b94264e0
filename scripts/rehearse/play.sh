# shellcheck shell=bash
# The steps, each of which fails if what it must show is not so; sourced by rehearse.sh, never run.

# Runs the same phases as for AWS, in a clone of this commit. A rehearsal that was started in the background ignores
# SIGINT, so the phases get its default action back.
phase() { (cd "$CHECKOUT" && env --default-signal=INT make --no-print-directory "$@" </dev/null); }

key_of() {
  local keys name
  name=$(jq -re .facts.value.api_key_secret "$TERRAFORM_OUTPUTS/$1.json") || return 1
  keys=$(aws_in "$1" secretsmanager get-secret-value --secret-id "$name" --query SecretString --output text) || return 1
  printf '%s' "${keys%%,*}"
}

ask_status() { (cd "$CHECKOUT" && scripts/phases/status.sh --json </dev/null) >"$STAGE/status.json" || true; }

# The parts that make status does not report as well.
unwell() {
  ask_status
  jq -r 'del(.well) | to_entries[] | .key as $site | .value | to_entries[] | select(.value.state != "ok") |
    "\($site) \(.key): \(.value.text)"' "$STAGE/status.json"
}
well() { SEEN=$(unwell | paste -sd ';') && [ -z "$SEEN" ]; }

# Shows what is unwell, and keeps it for the report.
show_status() {
  SEEN=$(unwell)
  echo "$SEEN"
  awk -v step="$CURRENT" '{ print step "\t" $0 }' <<<"$SEEN" >>"$STAGE.status"
}

all_well() {
  wait_until "make status reports that both regions are well" 90 well
  printf '%s\tboth regions are well\n' "$CURRENT" >>"$STAGE.status"
}

status() {
  all_well
  phase status
  alarm ALARM
  show_status
  alarm OK
}

alarm() {
  aws_in mexico cloudwatch set-alarm-state --alarm-name "$(cluster mexico)-cpu" --state-value "$1" --state-reason rehearsed
}

# ---- Phases with steps of their own

# The rehearsal's own CA must be there before the first sync; Amazon's are compiled in.
authority() {
  local site
  for site in $SITES; do
    # With a field manager of its own: under phase 6's, this would take away the labels that phase 6 gave the namespace.
    kube "$site" create namespace "$NAMESPACE" --dry-run=client --output json |
      kube "$site" apply --server-side --field-manager rehearsal --filename - >/dev/null
    kube "$site" --namespace "$NAMESPACE" create configmap authority --from-file "ca.pem=$STAGE/$site/dev/secrets/ca.crt" \
      --dry-run=client --output json | kube "$site" apply --server-side --filename - >/dev/null
  done
}

image() {
  phase phase-3
  local site digests
  digests=$(for site in $SITES; do sed -n 's/^  digest: //p' "$CHECKOUT/argocd/releases/$site.yaml"; done | sort -u)
  [[ $digests =~ ^\"sha256:[0-9a-f]{64}\"$ ]] || die "the regions do not have the same valid digest: $digests"
  [ "$(git ls-remote "$GIT_URL" refs/heads/main | cut -f 1)" = "$(git -C "$CHECKOUT" rev-parse HEAD)" ] || die "the release was not pushed"
}

applications() {
  authority
  phase phase-7
}

# ---- Payments

# Makes a payment in each region, and checks in which database it is stored.
payments() {
  local site other id url binary answer key
  for site in $SITES; do
    url=$(of_site "$site" PAYMENTS_URL)
    key=$(key_of "$site")
    answer=$(printf 'header = "X-API-Key: %s"\n' "$key" | curl --config - --silent --show-error --fail "$url/api/payment/simulate")
    id=$(jq -re .transaction_id <<<"$answer")
    [ "$(jq -re .region <<<"$answer")" = "$(region "$site")" ] || die "the answer of $site names another region: $answer"
    for other in $SITES; do
      [ "$(sql "$other" "SELECT count(*) FROM payments WHERE transaction_id = '$id'")" = "$([ "$other" = "$site" ] && echo 1 || echo 0)" ] ||
        die "the payment made in $site must be in the table of $site only; the table of $other is wrong"
    done
    say "$site: $answer"
    binary=$(find "$STAGE/$site/images" -name "$PROJECT" -type f | head -n 1)
    "$binary" probe "$url/api/payment/simulate" --rate 50 --count 250 --header "X-API-Key: $key"
  done
}

# What is running in a region: pods, processes, how often each was restarted.
running() {
  kube "$1" --namespace "$NAMESPACE" get pods --output \
    'jsonpath={range .items[*]}{.metadata.name}{" "}{.status.containerStatuses[*].containerID}{" "}{.status.containerStatuses[*].restartCount}{"\n"}{end}'
}

# calling FUNCTION: runs it while a caller pays in each region; no payment may fail.
calling() {
  local site caller said
  for site in $SITES; do
    key_of "$site" >"$STAGE/$site/caller.key"
    launch "$STAGE/$site" caller.py "$CHART_PYTHON" -B scripts/rehearse/caller.py "$(of_site "$site" PAYMENTS_URL)" "$STAGE/$site/caller.key"
    echo "$!" >"$STAGE/$site/caller.pid"
  done
  "$1"
  for site in $SITES; do
    caller=$(cat "$STAGE/$site/caller.pid")
    kill -TERM "$caller"
    wait "$caller" || die "$site: the caller failed: $(cat "$STAGE/$site/caller.py.log")"
    said=$(cat "$STAGE/$site/caller.py.log")
    jq -e '.paid > 20 and .failed == []' <<<"$said" >/dev/null || die "$site: payments failed, or too few were made: $said"
    say "$site: $(jq .paid <<<"$said") payments in the meantime, none failed"
  done
}

# Like calling, but the same processes must still be running afterwards.
calling_the_same() {
  local site
  for site in $SITES; do running "$site" >"$STAGE/$site/before"; done
  calling "$1"
  for site in $SITES; do
    running "$site" | diff "$STAGE/$site/before" - || die "$site: processes were replaced or restarted"
  done
}

# Has a region's caller change over to the new key.
take_key() {
  key_of "$1" >"$STAGE/$1/caller.key.new"
  mv "$STAGE/$1/caller.key.new" "$STAGE/$1/caller.key"
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

# ---- Rotations

keys() {
  local site
  for site in $SITES; do key_of "$site" >"$STAGE/$site/old.key"; done
  calling_the_same keys_meanwhile
  for site in $SITES; do wait_until "$site refuses the old key" 60 refuses "$site" "$(cat "$STAGE/$site/old.key")"; done
}

# The rotation asks before it removes the old keys. Without an answer it stops there; callers change over; then it
# continues.
keys_meanwhile() {
  local site
  if CONFIRM='' phase rotate-api-key >"$STAGE/shared/rotation.log" 2>&1; then
    die "the rotation did not ask before it removed the old keys"
  fi
  cat "$STAGE/shared/rotation.log"
  grep -q 'This must be confirmed' "$STAGE/shared/rotation.log" || die "the rotation stopped for another reason"
  for site in $SITES; do take_key "$site"; done
  phase rotate-api-key
}

refuses() {
  SEEN=$(pay "$1" 1 "$2" fresh) || true
  [ "${SEEN%% *}" = 403 ]
}

passwords() { calling_the_same passwords_meanwhile; }

# Neither External Secrets nor the service is notified. Connections are ended one after the other, as if by their age.
passwords_meanwhile() {
  local site
  for site in $SITES; do rotation "$site" database database-owner; done
  for site in $SITES; do
    wait_until "$site's Secret has the new login" 150 has_login "$site"
    wait_until "all connections in $site use the new login" 60 renewed "$site"
    say "$site: $(sql "$site" "SELECT count(*) || ' connections of ' || usename FROM pg_stat_activity WHERE usename LIKE 'payments_api%' GROUP BY usename")"
  done
}

current_login() {
  aws_in "$1" secretsmanager get-secret-value --secret-id "$PROJECT/production/database" --version-stage AWSCURRENT --query SecretString --output text | jq -r .username
}

has_login() {
  local login
  login=$(current_login "$1") || return 1
  SEEN=$(kube "$1" --namespace "$NAMESPACE" get secret "$PROJECT-database" --output 'jsonpath={.data.database_url}' | base64 -d | sed 's|^[a-z]*://||; s|:.*||')
  [ "$SEEN" = "$login" ]
}

renewed() {
  local others
  others="FROM pg_stat_activity WHERE usename LIKE 'payments_api%' AND usename <> '$(current_login "$1")'" || return 1
  sql "$1" "SELECT pg_terminate_backend(pid), pg_sleep(0.1) $others" >/dev/null
  SEEN="$(sql "$1" "SELECT count(*) $others") with the former login"
  [ "$SEEN" = "0 with the former login" ]
}

# ---- Secrets Manager is away

away() { calling away_meanwhile; }

# Spain's Secrets Manager accepts connections but does not answer. External Secrets is told to ask it, and a pod is
# replaced.
away_meanwhile() {
  local manager code=0
  manager=$(sed -n 's/ moto_server$//p' "$STAGE/spain/processes")
  kill -STOP "$manager"
  (without_secrets_manager) || code=$?
  kill -CONT "$manager"
  [ "$code" = 0 ] || die "spain did not get by without Secrets Manager"
}

# Its caller uses its exit code, so bash continues after a command that fails: hence `|| die`.
without_secrets_manager() {
  local secret pods pod
  secret=$(database_secret) || die "spain's Secret cannot be read"
  pods=$(names_of_pods spain) || die "spain's pods cannot be listed"
  kube spain --namespace "$NAMESPACE" annotate externalsecrets --all force-sync="$(date +%s)" --overwrite ||
    die "External Secrets could not be told to refresh"
  pod=$(head -n 1 <<<"$pods")
  kube spain --namespace "$NAMESPACE" delete "$pod" --wait || die "$pod could not be deleted"
  wait_until "a new pod has replaced $pod" 60 as_many_without "$pod" "$(wc -l <<<"$pods")"
  kube spain --namespace "$NAMESPACE" wait pods --selector app.kubernetes.io/component=api --for=condition=Ready --timeout=2m ||
    die "the new pod did not become ready"
  [ "$(database_secret)" = "$secret" ] || die "the Kubernetes Secret has changed"
}

database_secret() { kube spain --namespace "$NAMESPACE" get secret "$PROJECT-database" --output 'jsonpath={.data}'; }

names_of_pods() { kube "$1" --namespace "$NAMESPACE" get pods --selector app.kubernetes.io/component=api --output name; }

as_many_without() {
  local pods
  pods=$(names_of_pods spain)
  SEEN=$(xargs <<<"$pods")
  [ "$(wc -l <<<"$pods")" = "$2" ] && ! grep -qx "$1" <<<"$pods"
}

# ---- A release

release() { calling release_meanwhile; }

version_of() { sed -n 's/^version = "\(.*\)"/\1/p' "$1/Cargo.toml" | head -n 1; }

# Commits another version, a candidate with this number; its caller finds it in `version`.
next_version() {
  version="$(version_of . | grep -o '^[0-9.]*')-rc.$1"
  (
    cd "$CHECKOUT" || exit 1
    scripts/version-set.sh "$version"
    git commit --quiet --all --message "Version $version"
  )
}

release_meanwhile() {
  local version site
  version_of "$CHECKOUT" >"$STAGE/shared/former.version"
  next_version 1000
  open_runbook
  by_hand mexico "$STAGE/shared/runbook"/*-sh-hold
  phase phase-3
  for site in $SITES; do by_hand "$site" "$(look_again)"; done
  wait_until "spain has three pods, all with version $version" 300 all_run spain "$version"
  show_status
  all_run mexico "$(cat "$STAGE/shared/former.version")" || die "mexico is held at the former version, but runs $SEEN"
  by_hand mexico "$STAGE/shared/runbook"/*-sh-let-go
  phase phase-7
  wait_until "mexico has three pods, all with version $version" 120 all_run mexico "$version"
  all_well
}

# Whether there are three processes that all report this version, each asked at its own address.
all_run() {
  local address
  SEEN=$(kube "$1" --namespace "$NAMESPACE" get pods --output 'jsonpath={range .items[*]}{.status.hostIP}{"\n"}{end}' | while read -r address; do
    curl --silent --max-time 5 "http://$address:$(cat "$STAGE/$1/pods.port")/info" | jq -r .version
  done | sort | uniq -c | xargs)
  [ "$SEEN" = "3 $2" ]
}

# Rolls both regions back by the runbook's blocks; then Mexico alone, to the version before that.
roll_back() { calling roll_back_meanwhile; }

roll_back_meanwhile() {
  local folder="$STAGE/shared/runbook" former newer site block
  former=$(cat "$STAGE/shared/former.version") newer=$(version_of "$CHECKOUT")
  open_runbook
  for block in "$folder"/*-sh-roll-back; do by_hand spain "$block"; done
  for site in $SITES; do by_hand "$site" "$(look_again)"; done
  for site in $SITES; do wait_until "every pod of $site runs $former again" 180 all_run "$site" "$former"; done
  all_well
  by_hand mexico "$folder"/*-sh-roll-back-one
  by_hand mexico "$(look_again)"
  wait_until "every pod of mexico runs $newer" 180 all_run mexico "$newer"
  all_run spain "$former" || die "spain must run $former, but runs $SEEN"
  all_well
}

# By the runbook's blocks: a version is built and pushed in Spain, copied to Mexico, and released there.
release_by_hand() { calling release_by_hand_meanwhile; }

release_by_hand_meanwhile() {
  local folder="$STAGE/shared/runbook" version
  next_version 1001
  open_runbook
  by_hand spain "$folder"/*-sh-build
  by_hand spain "$(look_again)"
  wait_until "every pod of spain runs $version" 180 all_run spain "$version"
  image_in_moto spain
  by_hand mexico "$folder"/*-sh-copy
  by_hand mexico "$folder"/*-sh-release-again
  by_hand mexico "$(look_again)"
  wait_until "every pod of mexico runs $version, as in spain" 180 all_run mexico "$version"
  all_well
}

# The runbook's block that has Argo CD read git at once.
look_again() { grep -l refresh=normal "$STAGE/shared/runbook"/*-sh-rehearse; }

# ---- The runbook by hand

# Writes the runbook's commands to files, once, together with what they need to run.
open_runbook() {
  local folder="$STAGE/shared/runbook"
  [ ! -e "$folder" ] || return 0
  cp "$OPERATOR_FILE" "$CHECKOUT/terraform/operator.tfvars"
  python3 -B scripts/docs.py --blocks "$CHECKOUT/docs/DEPLOYMENT-RUNBOOK.md" "$folder"
  # Stand-ins for Terraform's outputs and AWS's addresses; last, a name for buckets that phase 0 has not created.
  cat <(declare -p ROOT CHART_PYTHON) <(declare -f rotation python_at at region_env region tfvar of_site) - \
    "$folder"/*-sh-operator.env <(echo buckets=by-hand) >"$folder/operator.env" <<'SH'
# The state is in moto's S3, which is reached by path.
terraform() {
  case "$2 $3" in
    "output -json") jq -e ".$4.value" "$TERRAFORM_OUTPUTS/${1##*/}.json" ;;
    *) "${OFFLINE:-command}" ${OFFLINE:+run --} terraform "$@" $([ "$2" = init ] && echo -backend-config=use_path_style=true) ;;
  esac
}
# Spain's region is always asked at Spain's address; the other one also has AWS' global services, which are each site's
# own here. moto calls no function when a secret is to be rotated.
aws() {
  local endpoint=${site^^}_AWS_ENDPOINT_URL secret
  [[ " $* " != *" --region eu-south-2 "* ]] || endpoint=SPAIN_AWS_ENDPOINT_URL
  [ "$1 $2" != "secretsmanager rotate-secret" ] || { secret=$(grep -o "$secrets/[a-z-]*" <<<"$*"); rotation "$site" "${secret##*/}"; return; }
  command aws --endpoint-url "${!endpoint}" "$@"
}
# The registries here have no TLS.
skopeo() { command skopeo --registries-conf "$STAGE/registries.conf" "$@"; }
curl() {
  local balancer=${site^^}_PAYMENTS_URL
  command curl "${@/#https:\/\/"$(fact host)"/${!balancer}}"
}
SH
}

# Runs the marked blocks and the commands within sentences, in both regions, exactly as the page has them.
runbook() {
  local folder="$STAGE/shared/runbook" site block
  open_runbook
  for site in $SITES; do
    database_in_moto "$site"
    others_in_moto "$site"
    for block in "$folder"/*-sh-rehearse* "$folder"/*-sql-rehearse "$folder"/*-inline; do
      ! grep -q put-secret-value "$block" || key_of "$site" >"$STAGE/$site/former.key"
      [[ $block = *-l@(ater|ast) ]] || by_hand "$site" "$block"
    done
    for block in "$folder"/*-later; do by_hand "$site" "$block"; done
    [ "$(aws_in "$site" eks describe-nodegroup --cluster-name "$(cluster "$site")" --nodegroup-name app-a \
      --query nodegroup.scalingConfig.desiredSize)" = 2 ] || die "$site: the group of nodes was not changed"
    [ "$site" = spain ] || [ "$(cat "$STAGE/control.json")" = '["192.0.2.1"]' ] || die "the addresses that $site admits were not found"
    # One of the blocks released a new image.
    by_hand "$site" "$(look_again)"
    # What the page says to do after the last key that it stores.
    by_hand "$site" "$(grep -l force-sync "$folder"/*-sh-rehearse)"
  done
  for site in $SITES; do
    wait_until "$site accepts the key that was stored by hand" 60 pays "$site"
    wait_until "$site refuses the key before it" 60 refuses "$site" "$(cat "$STAGE/$site/former.key")"
    wait_until "$site's Secret has the login of the last rotation" 150 has_login "$site"
  done
  all_well
  for site in $SITES; do
    for block in "$folder"/*-last; do by_hand "$site" "$block"; done
  done
}

# Mexico goes by the runbook's blocks, Spain stays, and the phases bring Mexico back.
torn_down_by_hand() {
  local folder="$STAGE/shared/runbook" block balancer left
  balancer=$(balancer_in_moto mexico)
  # With the chart, its uninstall would remove it.
  kube mexico --namespace monitoring delete statefulset --all
  for block in "$folder"/*-sh-tear-down; do by_hand mexico "$block"; done | tee "$STAGE/shared/tear-down.log"
  grep -qF "$balancer" "$STAGE/shared/tear-down.log" || die "the block did not show the load balancer $balancer"
  aws_in mexico elbv2 delete-load-balancer --load-balancer-arn "$balancer"
  left=$(kube mexico --namespace "$NAMESPACE" get deployments,ingresses,services --output name &&
    kube mexico --namespace monitoring get pvc --output name && pods_of mexico)
  [ -z "$left" ] || die "mexico still has ${left//$'\n'/, }"
  left=$(kube spain --namespace argocd get applications --output name)
  [ "$left" = "application.argoproj.io/$PROJECT-spain" ] || die "Argo CD must have Spain's Application alone, but has $left"
  left=$(cat "$STAGE/doomed-mexico")
  [ "$left" = $'module.audit.aws_kms_alias.logs\nmodule.rds' ] || die "what would be destroyed is wrong: $left"
  phase phase-6
  phase phase-7
  all_well
}

# Commands within sentences that cannot run here: those that moto does not know (accounts, add-ons, insights), that are
# about a pod that does not exist, or only for a region that was torn down.
NOT_HERE='enable-region|get-region-opt-status|describe-addon-versions|list-insights|delete-secret|restore-db|namespace kube-system logs|pod psql'

# by_hand SITE BLOCK: runs it as its fence says: in both regions, in one alone, as a server-side dry run (dry), with a
# kubeconfig of its own (apart), with a bucket full of versions (full), with Prometheus' claim (prometheus), with the
# buckets that phase 0 made and a state for Terraform (state), or, with these buckets, after the others (later). `last`
# only says when.
by_hand() {
  local first=: block=$2
  case $2 in
    *-sql-*)
      sql "$1" "$(cat "$2")"
      return
      ;;
    *-inline) ! grep -qE -- "$NOT_HERE" "$2" || return 0 ;;
    *-spain | *-mexico) [ "$1" = "${2##*-}" ] || return 0 ;;
    *-apart) first="export KUBECONFIG=$STAGE/$1/apart.kubeconfig" ;;
    *-later) first="buckets=$(operator state_bucket_prefix)" ;;
    *-state)
      first="buckets=$(operator state_bucket_prefix)"
      lay_state "$1"
      block="$STAGE/$1/block"
      case $(cat "$2") in
        *tflock*) lay_lock "$1" >/dev/null && cat "$2" ;;
        *LOCK_ID*) sed "s/LOCK_ID/$(lay_lock "$1")/" "$2" ;;
        *VERSION_ID*) sed "s/VERSION_ID/$(former_state "$1")/" "$2" ;;
        *) cat "$2" ;;
      esac >"$block"
      ;;
    *-prometheus) with_prometheus "$1" ;;
    *-full) first="buckets=full" && full_bucket "$1" ;;
    *-dry) first='kubectl() { command kubectl --dry-run=server "$@"; }' ;;
  esac
  say "$1, line $(basename "$2" | sed 's/^0*//; s/[.-].*//')"
  # shellcheck disable=SC2016  # the shell that is started expands them
  as_operator "$1" -o pipefail -c 'source "$0"; eval "$1"; source "$2"' "$STAGE/shared/runbook/operator.env" "$first" "$block"
  case $2 in
    *-prometheus) with_prometheus "$1" ;;
    *-state) state_was_changed "$1" "$2" ;;
  esac
  ! grep -q -- '--replicas=0' "$2" || stays_stopped "$1"
}

# as_operator SITE ARGUMENTS...: bash with these arguments, in the checkout, for a region.
as_operator() {
  (cd "$CHECKOUT" && site=$1 region=$(region "$1") AWS_ENDPOINT_URL=$(of_site "$1" AWS_ENDPOINT_URL) \
    timeout --foreground 600 bash -eu "${@:2}" </dev/null)
}

# Checks what the page says about a deployment at 0: Argo CD and the autoscaler look at it meanwhile and leave it alone.
stays_stopped() {
  local left
  wait_until "$1 has stopped" 60 serves_no_more "$1"
  sleep 20
  left=$(kube "$1" --namespace "$NAMESPACE" get "deployment/$PROJECT" --output 'jsonpath={.spec.replicas}')
  [ "$left" = 0 ] || die "$1: the deployment was scaled from 0 to $left pods"
}

serves_no_more() {
  SEEN=$(pods_of "$1" | xargs)
  [ -z "$SEEN" ]
}

# The commands of the alerts' pages, in both regions, after a pod of each was killed.
alerts() {
  local site page block
  for page in "$CHECKOUT"/docs/alerts/*.md; do
    python3 -B scripts/docs.py --blocks "$page" "$STAGE/shared/alerts/$(basename "$page" .md)"
  done
  for site in $SITES; do
    kill -KILL "$(pods_of "$site" | head -n 1)"
    wait_until "a pod of $site was restarted" 60 was_restarted "$site"
    for block in "$STAGE"/shared/alerts/*/*-sh; do by_page "$site" "$block"; done
  done
  all_well
}

was_restarted() {
  SEEN=$(kube "$1" --namespace "$NAMESPACE" get pods --selector app.kubernetes.io/component=api --output \
    'jsonpath={range .items[?(@.status.containerStatuses[0].lastState.terminated)]}{.metadata.name}{"\n"}{end}' | head -n 1)
  [ -n "$SEEN" ]
}

# by_page SITE BLOCK: runs it with a pod in the place of its placeholder, the one that was restarted or another one. Its
# pipes end with what finds nothing on a good day, so a failure is what a command says. `ask` asks a Prometheus, which
# only `make chart-e2e` has.
by_page() {
  local pod
  ! grep -q port-forward "$2" || return 0
  was_restarted "$1" || die "$1: no pod was restarted"
  pod=$SEEN
  grep -q -- --previous "$2" || pod=$(names_of_pods "$1" | grep -vF "$pod" | head -n 1 | cut -d/ -f2)
  say "$1, $(basename "$(dirname "$2")")"
  # shellcheck disable=SC2016  # the shell that is started expands them
  as_operator "$1" -c 'source "$0"; source "$1"; ask() { :; }; source "$2"' "$STAGE/shared/runbook/operator.env" \
    "$(grep -l '^logged()' "$STAGE"/shared/alerts/README/*)" <(sed "s/$PROJECT-…/$pod/" "$2") 2>"$STAGE/said" ||
    die "$1: the block failed: $(cat "$STAGE/said")"
  ! grep -iE 'error|not found|unbound|failed' "$STAGE/said" || die "$1: a command failed"
  kube "$1" --namespace "$NAMESPACE" rollout status "deployment/$PROJECT" --timeout=2m
}

pays() {
  SEEN=$(pay "$1" 1 "$(key_of "$1")" fresh) || true
  [ "${SEEN%% *}" = 200 ]
}

# ---- Down and up

tear_down() {
  phase down
  local site left
  for site in $SITES; do
    left=$(kube "$site" get "namespace/$NAMESPACE" "clusterrole/$PROJECT-deployer" "clusterrolebinding/$PROJECT-deployer" \
      "validatingadmissionpolicy/$PROJECT-deployer" "validatingadmissionpolicybinding/$PROJECT-deployer" --ignore-not-found --output name)
    [ -z "$left" ] || die "$site still has ${left//$'\n'/, }"
    left=$(pods_of "$site")
    [ -z "$left" ] || die "$site still has processes of pods: ${left//$'\n'/, }"
  done
  left=$(kube spain --namespace argocd get applications,applicationsets,appprojects,secrets --output name | grep -vE '/(argocd-secret|default)$' || true)
  [ -z "$left" ] || die "Argo CD still has ${left//$'\n'/, }"
  show_status
}

interrupted_up() {
  local number
  authority
  for number in 0 1 2 3 4 5 6; do interrupted_after "$number"; done
  phase up
  all_well
}

# Runs it in its own process group, which gets the signal that Ctrl-C would send.
interrupted_after() {
  local log="$STAGE/shared/up-$1.log" code=0
  set -m
  phase up >"$log" 2>&1 &
  UP=$!
  set +m
  wait_until "phase $1 has ended" 300 is_over "$1" "$log"
  kill -INT -- "-$UP"
  wait "$UP" || code=$?
  [ "$code" != 0 ] || die "make up completed, although it was interrupted after phase $1"
  wait_until "everything that make up started has ended" 30 group_is_gone "$UP"
  UP=
  say "interrupted after phase $1"
}

is_over() {
  kill -0 "$UP" 2>/dev/null || die "make up ended before phase $1 did: $(tail -n 5 "$2")"
  grep -q "^== phase $1 took" "$2"
}

group_is_gone() { ! kill -0 -- "-$1" 2>/dev/null; }

# ---- The end of a region

lost() {
  SITES=spain calling lost_meanwhile
}

# Kills everything in Mexico without notice. In Spain, secrets must still rotate and drift must still be healed.
lost_meanwhile() {
  local process
  while read -r process _; do kill -KILL "$process" 2>/dev/null || true; done <"$STAGE/mexico/processes"
  kill -KILL "$(head -n 1 "$(at mexico scripts/postgres.sh folder)/data/postmaster.pid")"
  rotation spain database
  kube spain --namespace "$NAMESPACE" delete service "$PROJECT"
  wait_until "Argo CD has restored Spain's Service" 120 kube spain --namespace "$NAMESPACE" get service "$PROJECT"
  wait_until "make status reports that Spain is well and Mexico is lost" 120 lost_alone
  SITES="spain mexico" show_status
}

lost_alone() {
  SEEN=$(SITES="spain mexico" unwell)
  ! grep '^spain' <<<"$SEEN" && [ "$(grep -cE '^mexico (nodes|pods|endpoint|payments): cannot be read' <<<"$SEEN")" = 4 ]
}
