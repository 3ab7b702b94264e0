#!/usr/bin/env bash
# `make status`: shows both regions on one screen. Each part is read separately, within a time limit: a part that cannot
# be read says so, and the others are still shown. The exit code is 0 if all is well. --json prints the same for
# programs.
source "$(dirname "$0")/common.sh"
begin "status" "nodes, pods, image, sync, health, endpoint, payments, alarms" "" "$@"
trap 'rm -rf "$WORK"' EXIT
LIMIT=(timeout "$STATUS_WAIT_S")

# A part prints a line. It returns 0 if all is well, 1 if it is not, and anything else if it could not be read.
PARTS="nodes pods image sync health endpoint payments alarms alerts"

nodes() {
  local found ready all
  found=$(kube "$1" get nodes --output json) || return 2
  all=$(jq '.items | length' <<<"$found")
  ready=$(jq '[.items[] | select(any(.status.conditions[]; .type == "Ready" and .status == "True"))] | length' <<<"$found")
  echo "$ready of $all ready"
  [ "$all" -gt 0 ] && [ "$ready" = "$all" ]
}

deployment() { kube "$1" --namespace "$NAMESPACE" get deployment "$PROJECT" --output json; }

pods() {
  local found wanted ready
  found=$(deployment "$1") || return 2
  wanted=$(jq .spec.replicas <<<"$found")
  ready=$(jq '.status.readyReplicas // 0' <<<"$found")
  echo "$ready of $wanted ready"
  [ "$ready" = "$wanted" ]
}

image() {
  local found runs released
  found=$(deployment "$1") || return 2
  runs=$(jq -r '.spec.template.spec.containers[0].image' <<<"$found")
  released=$(sed -n 's/^  digest: "\(.*\)"/\1/p' "argocd/releases/$1.yaml")
  if [ "${runs##*@}" = "$released" ]; then
    echo "${released:0:19}, as released"
  else
    echo "${runs##*[@/]}, but ${released:-nothing} is released"
    return 1
  fi
}

application() { kube "$CONTROL" --namespace argocd get application "$PROJECT-$1" --output json; }

sync() {
  local found sync held
  found=$(application "$1") || return 2
  sync=$(jq -r '.status.sync.status // "Unknown"' <<<"$found")
  held=$(held <<<"$found")
  echo "$sync at $(jq -r '.status.sync.revision // "-" | .[:12]' <<<"$found")${held:+: held at $held, not following $RELEASE_BRANCH}"
  [ "$sync" = Synced ] && [ -z "$held" ]
}

health() {
  local found
  found=$(application "$1") || return 2
  found=$(jq -r '.status.health.status // "Unknown"' <<<"$found")
  echo "$found"
  [ "$found" = Healthy ]
}

endpoint() {
  local address code
  address=$(address "$1") || return 2
  code=$("${LIMIT[@]}" curl --silent --max-time 10 --output /dev/null --write-out '%{http_code}' "$address/health") ||
    { echo "$address does not answer" >&2; return 2; }
  echo "$address: $code"
  [ "$code" = 200 ]
}

payments() {
  local keys lines paid
  keys=$(api_keys "$1") || return 2
  lines=$(pay "$1" "$STATUS_PAYMENTS" "${keys%%[,$'\n']*}") || true
  paid=$(grep -c '^200 ' <<<"$lines") || true
  if [ "$paid" = 0 ]; then
    echo "none of $STATUS_PAYMENTS accepted: status ${lines%%[[:space:]]*}"
    return 1
  fi
  echo "$(percentiles 2 <<<"$lines"); in the service $(percentiles 4 <<<"$lines")"
  [ "$paid" = "$STATUS_PAYMENTS" ]
}

alarms() {
  local found topic confirmed firing unheard="" well=true
  found=$(aws_in "$1" cloudwatch describe-alarms --alarm-name-prefix "$(cluster "$1")" --output json) || return 2
  topic=$(jq -r '[.MetricAlarms[].AlarmActions[]?] | first // empty' <<<"$found")
  if [ -n "$topic" ]; then
    confirmed=$(aws_in "$1" sns get-topic-attributes --topic-arn "$topic" --query Attributes.SubscriptionsConfirmed --output text) ||
      return 2
    if [ "$confirmed" = 0 ]; then
      unheard="; nobody is notified: follow the link in the mail to alert_email to confirm the subscription" well=false
    fi
  fi
  firing=$(say_which "$(jq -r '.MetricAlarms[] | select(.StateValue == "ALARM") | .AlarmName' <<<"$found")" \
    "$(jq '.MetricAlarms | length' <<<"$found") AWS alarms") || well=false
  # Terraform creates alarms in each region, so there must be some.
  if [ "$(jq '.MetricAlarms | length' <<<"$found")" = 0 ]; then
    firing="there are no AWS alarms" well=false
  fi
  echo "$firing$unheard"
  $well
}

# Which of the chart's alerts are firing in Prometheus. A series that the chart's rules always record shows that they
# are loaded.
alerts() {
  local found loaded=payment:errors:increase1h
  if skipped kube-prometheus-stack >/dev/null; then
    echo "not checked: SKIP_ADDONS names kube-prometheus-stack"
    return
  fi
  found=$(kube "$1" --namespace monitoring exec prometheus-prometheus-prometheus-0 --container prometheus -- \
    promtool query instant --format json http://localhost:9090 \
    "ALERTS{alertstate=\"firing\", alertname=~\"Payment.*\"} or $loaded{namespace=\"$NAMESPACE\"}") || return 2
  if ! jq --exit-status --arg loaded "$loaded" 'any(.[].metric.__name__; . == $loaded)' >/dev/null <<<"$found"; then
    echo "the chart's rules are not loaded"
    return 1
  fi
  say_which "$(jq -r '.[].metric.alertname // empty' <<<"$found" | sort -u)" "the chart's alerts"
}

# say_which NAMES OF_WHAT: names those that are firing.
say_which() {
  if [ -z "$1" ]; then
    echo "none of $2 firing"
  else
    echo "${1//$'\n'/, }"
    return 1
  fi
}

# One part of one region: its line into a file, and its state: ok, bad or unknown.
read_part() {
  local site=$1 part=$2 file="$WORK/$1.$2" code=0
  "$part" "$site" >"$file" 2>"$file.why" || code=$?
  case $code in
    0) echo ok >"$file.state" ;;
    1) echo bad >"$file.state" ;;
    *)
      echo unknown >"$file.state"
      printf 'cannot be read: %s\n' "$(grep . "$file.why" | tail -n 1 | sed 's/^error: //' | cut -c 1-150)" >"$file"
      ;;
  esac
}

read_region() {
  local site=$1 part
  # If the outputs are missing, the parts that need them say so.
  (load_outputs "$site") 2>"$WORK/$site.outputs" || true
  for part in $PARTS; do
    read_part "$site" "$part" &
  done
  wait
}

if dry; then
  step "nothing would be changed: make status only reads"
  exit
fi
for site in $SITES; do spawn read_region "$site"; done
wait

well=true
for site in $SITES; do
  for part in $PARTS; do
    [ "$(cat "$WORK/$site.$part.state")" = ok ] || well=false
  done
done
if [ -n "${JSON:-}" ]; then
  for site in $SITES; do
    for part in $PARTS; do
      jq -nc --arg site "$site" --arg part "$part" --arg state "$(cat "$WORK/$site.$part.state")" \
        --arg text "$(cat "$WORK/$site.$part")" '{($site): {($part): {state: $state, text: $text}}}'
    done
  done | jq -s --argjson well "$well" 'reduce .[] as $one ({well: $well}; . * $one)'
else
  for site in $SITES; do
    printf '\n%s (%s)\n' "${site^}" "$(region "$site")"
    for part in $PARTS; do
      case $(cat "$WORK/$site.$part.state") in ok) sign=' ' ;; bad) sign='!' ;; *) sign='?' ;; esac
      printf '%s %-10s %s\n' "$sign" "$part" "$(cat "$WORK/$site.$part")"
    done
  done
  echo
fi
$well
