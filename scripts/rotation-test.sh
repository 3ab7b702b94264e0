#!/usr/bin/env bash
# Tests the rotation function of terraform/modules/rotation against a real PostgreSQL and moto's Secrets Manager.
source "$(dirname "$0")/lib.sh"

PACKAGES=(pg8000==1.31.6 boto3==1.44.8 "moto[secretsmanager]==5.2.5")

need_packages "$CACHE/rotation" "${PACKAGES[@]}"
need_rust
say "building the service, whose migration runs between rotations"
cargo build --locked --quiet

# Its own server, which nothing else uses.
PAYMENTS_DEV=$(mktemp -d)
export PAYMENTS_DEV
stop() {
  scripts/postgres.sh remove >/dev/null || true
  rm -rf "$PAYMENTS_DEV"
}
trap stop EXIT
scripts/postgres.sh start

say "packaging the function, as Lambda would get it"
scripts/rotation-package.sh "$PAYMENTS_DEV/rotation.zip"
"$VENV/bin/python" -m zipfile -e "$PAYMENTS_DEV/rotation.zip" "$PAYMENTS_DEV/function"
# Imported in isolation, as in Lambda: with nothing from the environment that runs the test.
"$VENV/bin/python" -I -S -c 'import sys; sys.path.insert(0, sys.argv[1]); import pg8000.native' "$PAYMENTS_DEV/function"

say "rotating"
FUNCTION="$PAYMENTS_DEV/function" PG_SOCKET=$(scripts/postgres.sh folder) PG_PORT=$(cat "$PAYMENTS_DEV/port") \
  PG_ROOTS="$PAYMENTS_DEV/secrets/ca.crt" SERVICE_BINARY="$ROOT/target/debug/payment-latency-api" \
  "$VENV/bin/python" -B terraform/modules/rotation/function_test.py
