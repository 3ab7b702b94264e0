#!/usr/bin/env bash
# CPU time for a payment, and memory after the load, with mimalloc and with the system's allocator:
# the same static binary otherwise, in turns, so that what else the machine does meets both.
source "$(dirname "$0")/lib.sh"

rounds=${ROUNDS:-5} rate=${RATE:-1500} duration=${DURATION:-4s}

need_rust
need curl curl
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=$(sed -n "s/^ENV RUSTFLAGS='\(.*\)'/\1/p" Dockerfile)
export RUSTFLAGS
declare -A binary features=([mimalloc]='' [system]='--features system-allocator')
for allocator in mimalloc system; do
  say "building with $allocator"
  # shellcheck disable=SC2086  # no feature is no argument
  cargo build --release --locked --quiet --target "$target" --target-dir "target/$allocator" ${features[$allocator]}
  binary[$allocator]="target/$allocator/$target/release/payment-latency-api"
done

service=
was=$(scripts/postgres.sh status)
clean() {
  if [ -n "$service" ]; then kill "$service" 2>/dev/null || true; fi
  [ "$was" != stopped ] || scripts/postgres.sh stop
}
trap clean EXIT
scripts/postgres.sh start
export DATABASE_URL_FILE="$DEV/secrets/database_url" API_SECRET_KEY_FILE="$DEV/secrets/api_key"
export LISTEN_ADDRESS=127.0.0.1 DRAIN_MS=0 REGION=local ENVIRONMENT=dev
# As the image sets them.
read -ra settings <<<"$(sed -n 's/^ENV \(MIMALLOC_.*\)/\1/p' Dockerfile)"
export "${settings[@]}"
MIGRATE_DATABASE_URL_FILE="$DEV/secrets/migrate_database_url" "${binary[mimalloc]}" migrate >/dev/null

metric() { curl --silent "http://127.0.0.1:$PORT/metrics" | sed -n "s/^$1 //p"; }

printf '%-6s %-9s %26s %20s\n' round allocator 'CPU for a payment (us)' 'resident (KiB)'
for round in $(seq "$rounds"); do
  for allocator in mimalloc system; do
    PORT=$(free_port)
    export PORT
    "${binary[$allocator]}" >/dev/null &
    service=$!
    url="http://127.0.0.1:$PORT"
    until "${binary[$allocator]}" probe "$url/readyz" >/dev/null 2>&1; do sleep 0.05; done
    load=("${binary[$allocator]}" probe "$url/api/payment/simulate" --rate "$rate"
      --header "X-API-Key: $(cat "$API_SECRET_KEY_FILE")")
    "${load[@]}" --duration 1s >/dev/null
    cpu=$(metric process_cpu_seconds_total)
    payments=$(metric 'payments_total{outcome="approved"}')
    "${load[@]}" --duration "$duration" >/dev/null
    awk -v round="$round" -v allocator="$allocator" -v cpu="$cpu" -v payments="$payments" \
      -v cpu_after="$(metric process_cpu_seconds_total)" \
      -v payments_after="$(metric 'payments_total{outcome="approved"}')" \
      -v resident="$(metric process_resident_memory_bytes)" 'BEGIN {
        printf "%-6s %-9s %26.1f %20d\n", round, allocator,
          (cpu_after - cpu) * 1e6 / (payments_after - payments), resident / 1024
      }'
    kill "$service"
    wait "$service" || true
    service=
  done
done
