#!/usr/bin/env bash
# The rotation function of terraform/modules/rotation against a real PostgreSQL and moto's Secrets Manager.
source "$(dirname "$0")/lib.sh"

PACKAGES=(pg8000==1.31.6 boto3==1.44.8 "moto[secretsmanager]==5.2.5")

venv="$CACHE/rotation"
if [ "$(cat "$venv/packages" 2>/dev/null)" != "${PACKAGES[*]}" ]; then
  say "fetching ${PACKAGES[*]}"
  rm -rf "$venv"
  need_venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "${PACKAGES[@]}"
  echo "${PACKAGES[*]}" >"$venv/packages"
fi
need_rust
say "building the service, whose migration runs between rotations"
cargo build --locked --quiet

# A server of its own, which nothing else uses.
DEV=$(mktemp -d)
export DEV
stop() {
  scripts/postgres.sh remove >/dev/null
  rm -rf "$DEV"
}
trap stop EXIT
scripts/postgres.sh start
socket="$(scripts/postgres.sh folder)"

say "rotating"
PG_SOCKET=$socket PG_PORT=$(cat "$DEV/port") PG_ROOTS="$DEV/secrets/ca.crt" \
  SERVICE_BINARY="$ROOT/target/debug/payment-latency-api" \
  "$venv/bin/python" -B -W error::SyntaxWarning terraform/modules/rotation/function_test.py
