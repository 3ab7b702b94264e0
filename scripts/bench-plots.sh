#!/usr/bin/env bash
# Writes the tables and draws the pictures of docs/PERFORMANCE.md from docs/performance/results.json.
source "$(dirname "$0")/lib.sh"

MATPLOTLIB_VERSION=3.11.2
need_packages "$TOOLS/venv-plots" "matplotlib==$MATPLOTLIB_VERSION"
python3 -B benches/report.py
python3 -B benches/quotes.py
"$VENV/bin/python" benches/plots.py
# By these, docs-check notices a picture that was changed by hand.
(cd docs/performance && sha256sum -- *.svg >svg.sha256)
