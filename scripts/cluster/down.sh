#!/usr/bin/env bash
# Ends what up.sh started, and whatever else was added to FOLDER/processes: down.sh FOLDER
# shellcheck source=lib.sh
source "$(dirname "$0")/../lib.sh"

folder=${1:?usage: down.sh FOLDER}
[ -e "$folder/processes" ] || exit 0

# A line has a process id and the name of its program. An id that now belongs to another program is left alone.
ours() { [ -d "/proc/$1" ] && tr '\0' ' ' <"/proc/$1/cmdline" 2>/dev/null | grep -q -- "$2"; }

last_first=$(tac "$folder/processes")
for signal in TERM KILL; do
  while read -r process name; do
    if ours "$process" "$name"; then kill -"$signal" "$process" 2>/dev/null || true; fi
  done <<<"$last_first"
  for _ in $(seq 50); do
    left=
    while read -r process name; do
      if ours "$process" "$name"; then left=$name; fi
    done <<<"$last_first"
    [ -n "$left" ] || break 2
    sleep 0.2
  done
done
[ -z "${left:-}" ] || die "$left did not end, even after SIGKILL"
rm -f "$folder/processes"
