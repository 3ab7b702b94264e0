#!/usr/bin/env bash
# Checks that an interrupted rehearsal leaves nothing behind: interrupt.sh [SIGNAL:WORDS...]. For each argument a
# rehearsal is started, and gets the signal once it has printed the words: INT goes to the whole process group, as from
# Ctrl-C, TERM to the script alone; FAIL kills one of its programs instead.
# shellcheck source=../lib.sh
source "$(dirname "$0")/../lib.sh"

[ $# -gt 0 ] || set -- "INT:======== stage: mexico" "TERM:======== phase 1" "INT:- building" "FAIL:======== phase 7" \
  "INT:======== passwords" "INT:interrupted after phase 3"
work=$(mktemp -d)
run=
trap '[ -z "$run" ] || kill -TERM -- "-$run" 2>/dev/null; wait; rm -rf "$work"' EXIT

# Processes that have the rehearsal's folder in their environment.
left() { grep -slaz "^STAGE=$work/" /proc/[0-9]*/environ || true; }

for moment in "$@"; do
  signal=${moment%%:*} words=${moment#*:}
  set -m
  TMPDIR="$work" env --default-signal=INT scripts/rehearse.sh </dev/null >"$work.log" 2>&1 &
  run=$!
  set +m
  until grep -qF -- "$words" "$work.log"; do
    kill -0 "$run" 2>/dev/null || die "the rehearsal ended before it printed '$words': $(tail -n 3 "$work.log")"
    sleep 0.2
  done
  case $signal in
    INT) kill -INT -- "-$run" ;;
    TERM) kill -TERM "$run" ;;
    FAIL) kill -KILL "$(sed -n 's/ kube-apiserver$//p' "$work"/*/mexico/processes)" ;;
  esac
  code=0
  wait "$run" || code=$?
  run=
  [ "$code" != 0 ] || die "$moment: the rehearsal exited with 0 instead of failing"
  [ -z "$(left)" ] || die "$moment: processes were left behind: $(left)"
  [ -z "$(ls "$work")" ] || die "$moment: files were left behind: $(ls "$work")"
  say "$moment: exited with $code and left nothing behind"
done
rm -f "$work.log"
