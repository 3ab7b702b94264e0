# shellcheck shell=bash
# The steps' names, times and verdicts; sourced by rehearse.sh, never run.

BEGAN=$SECONDS
REVISION=$(git -C "$ROOT" rev-parse --short HEAD)
CURRENT=
LOGS="$ROOT/target/rehearse/logs"

# act NAME WHAT_IT_PROVES COMMAND...: runs one step. Call it as a plain command, so that any failure in it ends the run
# under its name.
act() {
  local began=$SECONDS
  CURRENT=$1
  printf '\n======== %s\n' "$1"
  "${@:3}"
  CURRENT=
  printf '%s\t%s\t%s\t%s\n' "$1" "$((began - BEGAN))" "$((SECONDS - began))" "$2" >>"$STAGE.steps"
  printf '======== %s passed in %s s: %s\n' "$1" "$((SECONDS - began))" "$2"
}

# Called at the end of the run, whatever ends it.
curtain() {
  local code=$?
  trap '' INT TERM
  if [ "$code" != 0 ]; then
    rm -rf "$LOGS"
    mkdir -p "$LOGS"
    (cd "$STAGE" && find . -name '*.log' -not -path '*/postgres/*' -exec cp --parents {} "$LOGS" \;) 2>/dev/null || true
  fi
  strike || true
  rm -f "$STAGE.steps" "$STAGE.status"
  [ "$code" = 0 ] || printf '\nREHEARSAL FAILED%s; the logs are in %s\n' "${CURRENT:+ in: $CURRENT}" "${LOGS#"$ROOT/"}" >&2
}

# Writes the record of the run, which scripts/rehearse/timeline.py draws.
keep_record() {
  mkdir -p "$ROOT/target/rehearse"
  {
    printf '# make rehearse of %s at revision %s, %s cores, %s s\n' "$(date -u +%F)" "$REVISION" "$(nproc)" "$((SECONDS - BEGAN))"
    # For scripts/docs.py, which notices when the runbook has other commands.
    printf '#runbook %s\n' "$(python3 -B "$ROOT/scripts/docs.py" --rehearsed)"
    awk -F '\t' -v OFS='\t' '{ print $2, $3, $1, $4 }' "$STAGE.steps"
  } >"$ROOT/target/rehearse/rehearsal.tsv"
}

report() {
  keep_record
  printf '\nTimeline of %s s:\n\n' "$((SECONDS - BEGAN))"
  awk -F '\t' -v all="$((SECONDS - BEGAN))" '
    function bar(n, text) { while (n-- > 0) text = text "#"; return text }
    { printf "%-17s %4s s  %*s%s\n", $1, $3, int($2 * 60 / all), "", bar(int($3 * 60 / all) + 1) }' "$STAGE.steps"
  printf '\nRehearsed:\n\n'
  awk -F '\t' '{ printf "  %-17s %s\n", $1, $4 }' "$STAGE.steps"
  printf '\nWhat make status reported meanwhile:\n\n'
  awk -F '\t' '{ printf "  %-17s %s\n", $1 == last ? "" : $1, $2; last = $1 }' "$STAGE.status"
  cat <<'TEXT'

Not rehearsed, and what covers it instead:

  terraform apply     make terraform-check: a plan of every module and environment, with assertions
  EKS, IAM            make terraform-check asserts trust and policies; moto allows everything
  RDS, its proxy      a real PostgreSQL with TLS here; make rotation-test runs the rotation function against one
  load balancer, DNS  HAProxy and a stand-in that fills the Ingress's status; the chart's tests assert its annotations
  containers          KWOK's pods run nothing: a process stands in for each, with its user, files and variables
  add-ons' charts     phase 4 and Argo CD's own install; the controllers of External Secrets and Argo CD run here
  what moto lacks     versions of add-ons, node groups and the database, and accounts: nothing but AWS' reference
  autoscaling         the stand-in always reports the same figure; make chart-test asserts the autoscaler's object
TEXT
}
