#!/usr/bin/env bash
# `make run-test`: tests `make run`: from nothing to a payment by the line that it prints, refused beside another run,
# ended by Ctrl-C, and once more on what it kept. Each run has its own folder and ports, so that no other `make run` is
# touched.
source "$(dirname "$0")/lib.sh"

need curl curl
need jq jq
need pgrep procps

scratch=$(mktemp -d)
log="$scratch/log"
leader=
serves=
folders=()

# use NAME: what `make run` keeps from here on is in a folder of that name.
use() {
  export PAYMENTS_DEV="$scratch/$1"
  claim_dev
  folders+=("$PAYMENTS_DEV")
}

clean() {
  # In order at first: if killed, it would leave its service behind.
  if [ -n "$leader" ] && kill -TERM -- "-$leader" 2>/dev/null; then
    timeout 60 tail --pid="$leader" -f /dev/null || kill -KILL -- "-$leader"
  fi
  if [ -n "$serves" ]; then kill -KILL "$serves" 2>/dev/null || true; fi
  for PAYMENTS_DEV in "${folders[@]}"; do
    scripts/postgres.sh remove >/dev/null
  done
  rm -rf "$scratch"
}
trap clean EXIT

fail() {
  sed 's/^/  | /' "$log" >&2
  die "$@"
}

# begin COMMAND...: starts it in a process group of its own, as a user's shell does. With & alone it would ignore INT.
begin() {
  MAKEFLAGS='' PORT=$port setsid env --default-signal=INT "$@" >"$log" 2>&1 </dev/null &
  leader=$!
}

# await SECONDS PATTERN: until the log has such a line.
await() {
  local deadline=$((SECONDS + $1))
  until grep -q -e "$2" "$log"; do
    kill -0 "$leader" 2>/dev/null || fail "it ended before it said '$2'"
    [ "$SECONDS" -lt "$deadline" ] || fail "it did not say '$2' in $1 s"
    sleep 0.1
  done
}

# A fresh checkout is built first, and that has its own time.
await_ready() {
  await 1800 '^==> starting PostgreSQL'
  await 120 '^  curl '
  serves=$(sed -n 's/^process \([0-9]*\),.*/\1/p' "$PAYMENTS_DEV/running")
  [ -d "/proc/$serves" ] || fail "process $serves is not the service"
}

# Pays with the line as it is printed, and looks for the payment in the table.
pay() {
  local answer body payment
  answer=$(bash -c "$(grep -m 1 '^  curl ' "$log")" 2>"$scratch/curl") || fail "the curl line failed: $(cat "$scratch/curl")"
  body=$(tail -n 1 <<<"$answer")
  grep -q '^HTTP/1\.1 200 OK' <<<"$answer" || fail "the curl line was answered with: $answer"
  payment=$(jq --exit-status --raw-output 'select(.status == "approved" and .amount == "12.34").transaction_id' <<<"$body") ||
    fail "the answer is no payment: $body"
  [ "$(scripts/postgres.sh sql "SELECT count(*) FROM payments WHERE transaction_id = '$payment'")" = 1 ] ||
    fail "payment $payment is not in the table"
}

# refused MESSAGE VARIABLE=VALUE...: another `make run` ends by itself with 1, says so, and leaves no PostgreSQL of its own.
refused() {
  local message=$1 code=0 said
  shift
  said=$(timeout 120 env "$@" scripts/run.sh 2>&1 </dev/null) || code=$?
  [ "$code" = 1 ] || fail "another run with $* ended with $code: $said"
  grep -qF "$message" <<<"$said" || fail "another run with $* did not say '$message': $said"
}

stopped() {
  local status
  status=$(scripts/postgres.sh status)
  [ "$status" = stopped ] || fail "PostgreSQL is left behind: $status"
}

# end_by_ctrl_c CODE [again]: sends INT to the whole group, as a terminal does. The run and all that it started must
# end, with CODE, even if INT comes again before that.
end_by_ctrl_c() {
  local code=0
  kill -INT -- "-$leader"
  if [ "${2:-}" = again ]; then
    sleep 0.1
    kill -INT -- "-$leader" 2>/dev/null || true
  fi
  timeout 60 tail --pid="$leader" -f /dev/null || fail "it goes on 60 s after Ctrl-C"
  wait "$leader" || code=$?
  [ "$code" = "$1" ] || fail "Ctrl-C ended it with $code, not $1"
  [ ! -d "/proc/$serves" ] || fail "the service is left behind: process $serves"
  serves=
  stopped
  ! pgrep -g "$leader" >/dev/null || fail "it left processes behind: $(pgrep -a -g "$leader")"
  ! pgrep -f -- "$PAYMENTS_DEV/|$(scripts/postgres.sh folder)/" >/dev/null || fail "processes are left of its folder"
  leader=
  grep -q '"event":"stopped".*"finished":true' "$log" || fail "the service did not end in order"
  grep -qx '==> stopped' "$log" || fail "it did not say that it stopped"
}

use first
free_port >"$PAYMENTS_DEV/port"
until port=$(free_port) && [ "$port" != "$(cat "$PAYMENTS_DEV/port")" ]; do :; done

say "make run, from nothing, on port $port"
begin make run
await_ready
pay
mapfile -t lines < <(grep '^Its state: ' "$log" | grep -o 'curl [^ ]*')
[ "${lines[*]}" = "curl http://127.0.0.1:$port/health curl http://127.0.0.1:$port/metrics" ] ||
  fail "its state and its metrics are to be had by other lines: ${lines[*]}"
for line in "${lines[@]}"; do
  bash -c "$line --fail --silent --output /dev/null" || fail "this line failed: $line"
done

say "another one beside it"
refused "'make run' runs already in this folder (process $serves, http://127.0.0.1:$port)" PORT="$(free_port)"
use second
refused "port $port is taken by another program: choose another one with 'PORT=8081 make run'" PORT="$port"
stopped
# No machine has this address: the service ends, while PostgreSQL runs already.
refused "the service ended: its log is above" PORT="$(free_port)" LISTEN_ADDRESS=192.0.2.1
stopped
use first
pay
mkdir "$scratch/other"
: >"$scratch/other/secrets"
refused "which holds something else" PORT="$(free_port)" PAYMENTS_DEV="$scratch/other"

# make gives INT's own status; the script's is 0.
say "Ctrl-C"
end_by_ctrl_c 130

say "once more, on what is there"
begin scripts/run.sh
await_ready
pay
[ "$(scripts/postgres.sh sql 'SELECT count(*) FROM payments')" = 3 ] || fail "the payments before are not there any more"
end_by_ctrl_c 0 again
say "make run serves payments, and leaves nothing behind"
