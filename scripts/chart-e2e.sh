#!/usr/bin/env bash
# `make chart-e2e`: tests both regions of the chart on a real control plane, with External Secrets, moto as Secrets
# Manager, PostgreSQL, Prometheus and the service itself. Everything is in one folder and ends with this script.
source "$(dirname "$0")/lib.sh"
# shellcheck source=cluster/versions.sh
source "$ROOT/scripts/cluster/versions.sh"
# shellcheck source=chart-tools.sh
source "$ROOT/scripts/chart-tools.sh"

# Each container runs as its own user and sees its files at a mount point of its own.
[ "$(id -u)" = 0 ] || die "make chart-e2e needs root, to mount files and to become the pods' users: run it with sudo"
need_rust
need setpriv util-linux
need curl curl
need openssl openssl
scripts/postgres.sh install || die "the test needs PostgreSQL's server programs"
install_prometheus || die "the test needs prometheus and promtool (Debian's package prometheus)"
install_chart_tools
scripts/cluster/build.sh
say "building the service"
cargo build --locked --quiet
unset AWS_CA_BUNDLE

scratch=$(mktemp -d)
export PAYMENTS_DEV="$scratch/dev" E2E_FOLDER="$scratch/cluster"
clean() {
  scripts/cluster/down.sh "$E2E_FOLDER" || true
  scripts/postgres.sh remove >/dev/null 2>&1 || true
  as_root rm -rf "$scratch"
}
trap clean EXIT
trap 'exit 1' INT TERM
# The service runs as a user of its own, which must reach its files.
chmod 755 "$scratch"

began=$SECONDS
scripts/postgres.sh start
scripts/cluster/up.sh "$E2E_FOLDER"

PG_BINDIR=$(scripts/postgres.sh bindir)
export PG_BINDIR KUBECONFIG="$E2E_FOLDER/kubeconfig" KUBECTL_BIN="$CLUSTER_BIN/kubectl"
export EXTERNAL_SECRETS_BIN="$CLUSTER_BIN/external-secrets" MOTO_BIN="$CHART_VENV/bin/moto_server"
export PROMETHEUS_BIN="$TOOLS/prometheus/usr/bin/prometheus"
export SERVICE_BIN="$ROOT/target/debug/payment-latency-api"
(cd chart/tests && "$CHART_PYTHON" -B -m unittest --verbose --failfast e2e)
say "the chart passed on $("$CLUSTER_BIN/kube-apiserver" --version), External Secrets $EXTERNAL_SECRETS_VERSION," \
  "moto $MOTO_VERSION, in $((SECONDS - began)) s"
