#!/usr/bin/env bash
# `make argocd-check`: checks argocd/ against the chart, Terraform and itself.
source "$(dirname "$0")/lib.sh"

PYYAML_VERSION=6.0.3

need_packages "$CACHE/argocd" "pyyaml==$PYYAML_VERSION"
"$VENV/bin/python" -B argocd/check.py
