#!/usr/bin/env bash
# `make chart-test`: tests what the chart renders and refuses, its alerts and its documents, without a cluster.
source "$(dirname "$0")/lib.sh"
# shellcheck source=cluster/versions.sh
source "$ROOT/scripts/cluster/versions.sh"
# shellcheck source=chart-tools.sh
source "$ROOT/scripts/chart-tools.sh"

install_prometheus || die "the tests need prometheus and promtool (Debian's package prometheus)"
install_chart_tools
export PROMTOOL_BIN="$TOOLS/prometheus/usr/bin/promtool"

say "helm lint"
for region in spain mexico; do
  "$HELM_BIN" lint --strict --quiet chart -f "chart/values-$region.yaml"
done

say "unit tests, refusals, golden renders, alerts, documents"
(cd chart/tests && "$CHART_PYTHON" -B -m unittest discover --pattern 'test_*.py')

say "checkov"
rendered=$(mktemp -d)
trap 'rm -rf "$rendered"' EXIT
for region in spain mexico; do
  "$HELM_BIN" template payment-latency-api chart -f "chart/values-$region.yaml" --namespace payment-latency-api \
    --kube-version "$KUBERNETES_VERSION" --set prune.enabled=true \
    --set "image.digest=sha256:$(printf %064d 0)" >"$rendered/$region.yaml"
done
"$CHART_VENV/bin/checkov" --config-file chart/tests/checkov.yaml --directory "$rendered" | tee "$rendered/said"
# checkov also succeeds on files in which it found nothing to check.
grep -q '^Passed checks: [1-9]' "$rendered/said" || die "checkov ran no checks"

say "the chart passed, with helm $("$HELM_BIN" version --short), checkov $CHECKOV_VERSION and:"
"$PROMTOOL_BIN" --version 2>&1 | head -n 1
