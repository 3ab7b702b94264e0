#!/usr/bin/env bash
# `make argocd-check`: argocd/ against the chart, Terraform and itself.
source "$(dirname "$0")/lib.sh"

PYYAML_VERSION=6.0.3

venv="$CACHE/argocd"
if [ "$(cat "$venv/version" 2>/dev/null)" != "$PYYAML_VERSION" ]; then
  rm -rf "$venv"
  need_venv "$venv"
  "$venv/bin/pip" install --quiet --disable-pip-version-check "pyyaml==$PYYAML_VERSION"
  echo "$PYYAML_VERSION" >"$venv/version"
fi
"$venv/bin/python" -B argocd/check.py
