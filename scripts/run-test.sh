#!/usr/bin/env bash
# `make run-test`: tests `make run`: from nothing to a payment with the command that it prints, refused beside another
# run, stopped by Ctrl-C, and started again with the data it kept. Each run has its own folder and ports, so that no
# other `make run` is affected.
source "$(dirname "$0")/lib.sh"

need curl curl
need jq jq
need pgrep procps

scratch=$(mktemp -d)
log="$scratch/log"
leader=
serves=
folders=()

# use NAME: from here on, `make run` keeps its files in a folder of that name.
use() {
  export PAYMENTS_DEV="$scratch/$1"
  claim_dev
  folders+=("$PAYMENTS_DEV")
}

clean() {
  # Asks it to end first: if killed, it would leave its service behind.
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

# begin COMMAND...: starts it in its own process group, as a user's shell does. With & alone it would ignore INT.
begin() {
  MAKEFLAGS='' PORT=$port setsid env --default-signal=INT "$@" >"$log" 2>&1 </dev/null &
  leader=$!
}

# await SECONDS PATTERN: waits until the log has such a line.
await() {
  local deadline=$((SECONDS + $1))
  until grep -q -e "$2" "$log"; do
    kill -0 "$leader" 2>/dev/null || fail "make run ended before it printed '$2'"
    [ "$SECONDS" -lt "$deadline" ] || fail "make run did not print '$2' within $1 s"
    sleep 0.1
  done
}

# A fresh checkout is built first, which has its own time limit.
await_ready() {
  await 1800 '^==> starting PostgreSQL'
  await 120 '^  curl '
  serves=$(sed -n 's/^process \([0-9]*\),.*/\1/p' "$PAYMENTS_DEV/running")
  [ -d "/proc/$serves" ] || fail "process $serves is not the service"
}

# Pays with the command as it is printed, and looks for the payment in the table.
pay() {
  local answer body payment
  answer=$(bash -c "$(grep -m 1 '^  curl ' "$log")" 2>"$scratch/curl") || fail "the printed curl command failed: $(cat "$scratch/curl")"
  body=$(tail -n 1 <<<"$answer")
  grep -q '^HTTP/1\.1 200 OK' <<<"$answer" || fail "the printed curl command got the answer: $answer"
  payment=$(jq --exit-status --raw-output 'select(.status == "approved" and .amount == "12.34").transaction_id' <<<"$body") ||
    fail "the answer is not a payment: $body"
  [ "$(scripts/postgres.sh sql "SELECT count(*) FROM payments WHERE transaction_id = '$payment'")" = 1 ] ||
    fail "payment $payment is not in the table"
}

# refused MESSAGE VARIABLE=VALUE...: another run must exit with 1 by itself and print MESSAGE.
refused() {
  local message=$1 code=0 said
  shift
  said=$(timeout 120 env "$@" scripts/run.sh 2>&1 </dev/null) || code=$?
  [ "$code" = 1 ] || fail "another run with $* exited with $code instead of 1: $said"
  grep -qF "$message" <<<"$said" || fail "another run with $* did not print '$message': $said"
}

stopped() {
  local status
  status=$(scripts/postgres.sh status)
  [ "$status" = stopped ] || fail "PostgreSQL was left behind: $status"
}

# end_by_ctrl_c CODE [again]: sends INT to the whole group, as a terminal does. The run must exit with CODE, and all
# that it started must end, even if INT comes a second time.
end_by_ctrl_c() {
  local code=0
  kill -INT -- "-$leader"
  if [ "${2:-}" = again ]; then
    sleep 0.1
    kill -INT -- "-$leader" 2>/dev/null || true
  fi
  timeout 60 tail --pid="$leader" -f /dev/null || fail "make run was still running 60 s after Ctrl-C"
  wait "$leader" || code=$?
  [ "$code" = "$1" ] || fail "after Ctrl-C it exited with $code instead of $1"
  [ ! -d "/proc/$serves" ] || fail "the service was left behind: process $serves"
  serves=
  stopped
  ! pgrep -g "$leader" >/dev/null || fail "processes were left behind: $(pgrep -a -g "$leader")"
  ! pgrep -f -- "$PAYMENTS_DEV/|$(scripts/postgres.sh folder)/" >/dev/null || fail "processes that use its folder were left behind"
  leader=
  grep -q '"event":"stopped".*"finished":true' "$log" || fail "the service did not shut down cleanly"
  grep -qx '==> stopped' "$log" || fail "make run did not print that it stopped"
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
  fail "the printed commands for its state and metrics are wrong: ${lines[*]}"
for line in "${lines[@]}"; do
  bash -c "$line --fail --silent --output /dev/null" || fail "this command failed: $line"
done

say "another run beside it"
refused "'make run' is already running in this folder (process $serves, http://127.0.0.1:$port)" PORT="$(free_port)"
use second
refused "port $port is already in use: choose another one with 'PORT=8081 make run'" PORT="$port"
stopped
# No machine has this address: the service ends after PostgreSQL has started.
refused "the service ended: its log is above" PORT="$(free_port)" LISTEN_ADDRESS=192.0.2.1
stopped
use first
pay
mkdir "$scratch/other"
: >"$scratch/other/secrets"
refused "contains other files: name a new or empty folder" PORT="$(free_port)" PAYMENTS_DEV="$scratch/other"

# make exits with the status of INT, the script with 0.
say "Ctrl-C"
end_by_ctrl_c 130

say "once more, with the data that was kept"
begin scripts/run.sh
await_ready
pay
[ "$(scripts/postgres.sh sql 'SELECT count(*) FROM payments')" = 3 ] || fail "the earlier payments are missing"
end_by_ctrl_c 0 again
say "make run serves payments, and leaves nothing behind"
