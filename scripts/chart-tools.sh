# shellcheck shell=bash
# Installs what the chart's tests run: helm, and Python with checkov and moto; sourced, never run.

export CHECKOV_VERSION=3.3.30 MOTO_VERSION=5.2.5
export CHART_VENV="$CACHE/chart-venv-$CHECKOV_VERSION-$MOTO_VERSION"
export CHART_PYTHON="$CHART_VENV/bin/python" HELM_BIN="$CLUSTER_BIN/helm"

install_chart_tools() {
  scripts/cluster/build.sh helm
  [ ! -e "$CHART_VENV/complete" ] || return 0
  say "fetching checkov $CHECKOV_VERSION and moto $MOTO_VERSION"
  rm -rf "$CHART_VENV"
  mkdir -p "$(dirname "$CHART_VENV")"
  need_venv "$CHART_VENV"
  "$CHART_VENV/bin/pip" install --quiet --disable-pip-version-check \
    "checkov==$CHECKOV_VERSION" "moto[server]==$MOTO_VERSION" pyyaml
  touch "$CHART_VENV/complete"
}
