#!/usr/bin/env bash
# `make run`: everything on this machine, in the foreground, until Ctrl-C.
source "$(dirname "$0")/lib.sh"

port=${PORT:-8080}
binary=target/release/payment-latency-api
base="http://127.0.0.1:$port"

mkdir -p "$DEV"
exec 9>"$DEV/lock"
if ! flock -n 9; then
  die "'make run' runs already in this folder ($(cat "$DEV/running" 2>/dev/null || echo 'it is starting')):" \
    "stop it with Ctrl-C first"
fi
port_is_free "$port" || die "port $port is taken by another program: choose another one with 'PORT=8081 make run'"

say "building (the first time takes a minute or two)"
need_rust
cargo build --release --locked --quiet 9>&-

service=
stop() {
  trap - EXIT INT TERM
  if [ -n "$service" ] && kill -TERM "$service" 2>/dev/null; then
    wait "$service" || true
  fi
  scripts/postgres.sh stop 9>&-
  rm -f "$DEV/running"
  say "stopped"
}
trap 'stop; exit 0' INT
trap 'stop; exit 0' TERM
trap stop EXIT

scripts/postgres.sh start 9>&-

export DATABASE_URL_FILE="$DEV/secrets/database_url"
export MIGRATE_DATABASE_URL_FILE="$DEV/secrets/migrate_database_url"
export API_SECRET_KEY_FILE="$DEV/secrets/api_key"
export PORT=$port LISTEN_ADDRESS=${LISTEN_ADDRESS:-127.0.0.1} REGION=${REGION:-local} \
  ENVIRONMENT=${ENVIRONMENT:-dev} DRAIN_MS=${DRAIN_MS:-0}

say "migrating the schema"
"$binary" migrate

say "starting the service on $base"
# A session of its own: Ctrl-C reaches this script only, which then ends things in order.
setsid "$binary" serve 9>&- &
service=$!
echo "process $service, $base" >"$DEV/running"
until "$binary" probe "$base/readyz" >/dev/null 2>&1; do
  kill -0 "$service" 2>/dev/null || die "the service ended: its log is above"
  sleep 0.1
done

cat <<READY

The service is ready. A payment:

  curl -i -H 'X-API-Key: $(cat "$DEV/secrets/api_key")' '$base/api/payment/simulate?amount=12.34'

Its state: curl $base/health   Its metrics: curl $base/metrics   Ctrl-C stops it.

READY
code=0
wait "$service" || code=$?
service=
[ "$code" = 0 ] || die "the service ended with code $code"
