#!/usr/bin/env bash
# `make checklist`: runs the security checklist, after breaking every check on purpose.
# scripts/checklist.sh [--write | --check | ID...]
source "$(dirname "$0")/lib.sh"

PYYAML_VERSION=6.0.3
PYTHON_HCL2_VERSION=8.1.4
JMESPATH_VERSION=1.1.0
need jq jq
need_packages "$CACHE/checklist" "pyyaml==$PYYAML_VERSION" "python-hcl2==$PYTHON_HCL2_VERSION" "jmespath==$JMESPATH_VERSION"
# The checklist's commands call python3.
export PATH="$VENV/bin:$PATH" PYTHONDONTWRITEBYTECODE=1

if [ $# = 0 ]; then
  image=target/image/payment-latency-api.tar
  sources=(Cargo.toml Cargo.lock rust-toolchain.toml Dockerfile src migrations)
  # An image of other sources, for example from a cache, proves nothing about these.
  if [ ! -e "$image" ] || [ -n "$(find "${sources[@]}" -newer "$image" -print -quit)" ]; then scripts/image.sh; fi
  say "each check, broken on purpose"
  (cd scripts && python3 -m unittest --quiet checklist_test)
  say "the checklist"
fi
python3 scripts/checklist.py "$@"
