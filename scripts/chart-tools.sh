# shellcheck shell=bash
# Installs what the chart's tests run: helm, and Python with checkov and moto; sourced, never run.

export CHECKOV_VERSION=3.3.30 MOTO_VERSION=5.2.5 PYYAML_VERSION=6.0.3
export HELM_BIN="$CLUSTER_BIN/helm"

install_chart_tools() {
  scripts/cluster/build.sh helm
  need_packages "$CACHE/chart-venv" "checkov==$CHECKOV_VERSION" "moto[server]==$MOTO_VERSION" "pyyaml==$PYYAML_VERSION"
  export CHART_VENV=$VENV CHART_PYTHON="$VENV/bin/python"
}
