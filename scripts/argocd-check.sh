#!/usr/bin/env bash
# `make argocd-check`: argocd/ against the chart, Terraform and itself.
source "$(dirname "$0")/lib.sh"

PYYAML_VERSION=6.0.3

venv="$CACHE/argocd"
need_packages "$venv" "pyyaml==$PYYAML_VERSION"
"$venv/bin/python" -B argocd/check.py
