#!/usr/bin/env bash
# Builds the contestants and the harness, then lets benches/bench.py run them side by side.
source "$(dirname "$0")/lib.sh"

need_rust
need python3 python3
need chrt util-linux
say "building the service, the harness and the peers (minutes the first time)"
target=$(rustc -vV | sed -n 's/^host: //p')
RUSTFLAGS=$(sed -n "s/^ENV RUSTFLAGS='\(.*\)'/\1/p" Dockerfile) \
  cargo build --release --locked --quiet --target "$target"
(cd benches/harness && CARGO_TARGET_DIR="$ROOT/target/harness" cargo build --release --locked --quiet)
for peer in benches/peers/*/; do
  (cd "$peer" && CARGO_TARGET_DIR="$ROOT/target/peers" cargo build --release --locked --quiet)
done

# A database on a memory file system: what differs is then the contestants, not the disk.
export DEV=/dev/shm/payment-latency-api-bench
trap 'scripts/postgres.sh remove; rm -rf "$DEV"' EXIT
scripts/postgres.sh start
export SERVICE="$ROOT/target/$target/release/payment-latency-api"
MIGRATE_DATABASE_URL_FILE="$DEV/secrets/migrate_database_url" DATABASE_URL_FILE="$DEV/secrets/database_url" \
  "$SERVICE" migrate >/dev/null

# Twice: as fast as memory commits, and with the three milliseconds that a managed database takes.
for delay in 0 3000; do
  scripts/postgres.sh sql "ALTER SYSTEM SET commit_delay = $delay"
  scripts/postgres.sh sql "ALTER SYSTEM SET commit_siblings = 0"
  scripts/postgres.sh sql "SELECT pg_reload_conf()" >/dev/null
  python3 benches/bench.py --commit-delay-us "$delay" "$@"
done
