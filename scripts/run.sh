#!/usr/bin/env bash
# `make run`: runs everything on this machine, in the foreground. Ctrl-C stops it, and this script then exits with 0.
source "$(dirname "$0")/lib.sh"

port=${PORT:-8080}
binary=target/release/payment-latency-api
host=${LISTEN_ADDRESS:-127.0.0.1}
case $host in 0.0.0.0 | ::) host=127.0.0.1 ;; *:*) host="[$host]" ;; esac
base="http://$host:$port"
if ! [[ $port =~ ^[1-9][0-9]{0,4}$ && $port -le 65535 ]]; then
  die "PORT=$port is not a valid port: it must be a number from 1 to 65535"
fi

claim_dev
exec 9>"$PAYMENTS_DEV/lock"
if ! flock -n 9; then
  die "'make run' is already running in this folder ($(cat "$PAYMENTS_DEV/running" 2>/dev/null || echo 'it is starting')):" \
    "stop it with Ctrl-C first"
fi
# A run that was killed may have left its service behind.
left=$(sed -n 's/^process \([0-9]*\),.*/\1/p' "$PAYMENTS_DEV/running" 2>/dev/null || true)
# Not identified by /proc/PID/exe, which cannot be read: the service is not dumpable.
if [ -n "$left" ] && [[ $(tr '\0' ' ' 2>/dev/null <"/proc/$left/cmdline" || true) == "$ROOT/$binary serve "* ]]; then
  say "stopping process $left, which an earlier run left behind"
  kill -TERM "$left"
  timeout 5 tail --pid="$left" -f /dev/null || kill -KILL "$left"
fi
rm -f "$PAYMENTS_DEV/running"
port_is_free "$port" || die "port $port is already in use: choose another one with 'PORT=8081 make run'"

say "building (the first time takes a minute or two)"
need_rust
cargo build --release --locked --quiet 9>&-

service=
stop() {
  # A second Ctrl-C must not interrupt this.
  trap '' INT TERM
  trap - EXIT
  if [ -n "$service" ] && kill -TERM "$service" 2>/dev/null; then
    wait "$service" || true
  fi
  scripts/postgres.sh stop 9>&-
  rm -f "$PAYMENTS_DEV/running"
  say "stopped"
}
trap 'stop; exit 0' INT
trap 'stop; exit 0' TERM
trap stop EXIT

scripts/postgres.sh start 9>&-

# The surrounding shell may have settings for another database.
unset DATABASE_URL MIGRATE_DATABASE_URL API_SECRET_KEY
export DATABASE_URL_FILE="$PAYMENTS_DEV/secrets/database_url"
export API_SECRET_KEY_FILE="$PAYMENTS_DEV/secrets/api_key"
export PORT=$port LISTEN_ADDRESS=${LISTEN_ADDRESS:-127.0.0.1} REGION=${REGION:-local} \
  ENVIRONMENT=${ENVIRONMENT:-dev} DRAIN_MS=${DRAIN_MS:-0}

say "migrating the schema"
MIGRATE_DATABASE_URL_FILE="$PAYMENTS_DEV/secrets/migrate_database_url" "$binary" migrate

say "starting the service on $base"
# In its own session: Ctrl-C reaches only this script, which then stops everything in order.
setsid "$ROOT/$binary" serve 9>&- &
service=$!
echo "process $service, $base" >"$PAYMENTS_DEV/running"
deadline=$((SECONDS + 60))
until "$binary" probe "$base/readyz" >/dev/null 2>&1; do
  kill -0 "$service" 2>/dev/null || die "the service ended: its log is above"
  [ "$SECONDS" -lt "$deadline" ] || die "the service was not ready within 60 s: its log is above"
  sleep 0.1
done

cat <<READY

The service is ready. A payment:

  curl -i -H 'X-API-Key: $(cat "$PAYMENTS_DEV/secrets/api_key")' '$base/api/payment/simulate?amount=12.34'

Its state: curl $base/health   Its metrics: curl $base/metrics   Ctrl-C stops it.

READY
code=0
wait "$service" || code=$?
service=
[ "$code" = 0 ] || die "the service exited with code $code: its log is above"
