#!/usr/bin/env bash
# Writes the tables and draws the pictures of docs/PERFORMANCE.md from docs/performance/results.json.
source "$(dirname "$0")/lib.sh"

MATPLOTLIB_VERSION=3.11.2
venv="$TOOLS/venv-plots"
if ! "$venv/bin/python" -c "import matplotlib; assert matplotlib.__version__ == '$MATPLOTLIB_VERSION'" 2>/dev/null; then
  need python3 python3
  need_venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "matplotlib==$MATPLOTLIB_VERSION"
fi
python3 benches/report.py
python3 -B benches/quotes.py
"$venv/bin/python" benches/plots.py
