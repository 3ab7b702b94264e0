#!/usr/bin/env bash
# `make test`: installs what the service's tests need, then runs them. test.sh ARGUMENTS...: passed on to `cargo test`.
source "$(dirname "$0")/lib.sh"

SCHEMATHESIS_VERSION=4.32.5
missing=()

need_rust
need openssl openssl
need setpriv util-linux
need pgbouncer pgbouncer
scripts/postgres.sh install || missing+=("PostgreSQL's server programs")
install_prometheus || missing+=("prometheus and promtool (Debian's package prometheus)")
need_packages "$TOOLS/venv" "schemathesis==$SCHEMATHESIS_VERSION" || missing+=("schemathesis $SCHEMATHESIS_VERSION (PyPI)")
if [ ${#missing[@]} -gt 0 ]; then
  printf 'missing: %s\n' "${missing[@]}" >&2
  die "the tests need these, and they could not be installed"
fi

PG_BINDIR=$(scripts/postgres.sh bindir)
export PG_BINDIR
export PROMETHEUS_BIN="$TOOLS/prometheus/usr/bin/prometheus"
export PROMTOOL_BIN="$TOOLS/prometheus/usr/bin/promtool"
export SCHEMATHESIS_BIN="$VENV/bin/schemathesis"
ulimit -n "$(ulimit -Hn)"

say "running the tests"
cargo test --locked "$@"
say "these tests passed, with:"
"$PG_BINDIR/postgres" --version
"$PROMETHEUS_BIN" --version 2>&1 | head -n 1
"$SCHEMATHESIS_BIN" --version
[ "$(id -u)" = 0 ] || [[ $# -gt 0 && "$*" != *reliability* ]] || echo "NOT CHECKED: faults::small_disk_full, which needs root to mount a small disk"
