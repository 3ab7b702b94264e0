#!/usr/bin/env bash
# `make phases-test`: tests the phases, status, down and the rotation of the API key against stand-ins for the tools
# that connect to other machines, and with the real aws client against moto. It needs no account and no cluster.
source "$(dirname "$0")/lib.sh"

PACKAGES=(awscli==1.45.11 "moto[server]==5.2.5" pytest==9.2.0 pytest-xdist==3.8.0 pyyaml==6.0.3)

need jq jq
need openssl openssl
need git git
need_packages "$CACHE/phases" "${PACKAGES[@]}"
# The tests' processes end without removing their folders.
TMPDIR=$(mktemp -d)
export TMPDIR
trap 'rm -rf "$TMPDIR"' EXIT
cd scripts/phases/tests
AWS_BIN="$VENV/bin/aws" MOTO_BIN="$VENV/bin/moto_server" \
  "$VENV/bin/python" -B -m pytest --quiet -p no:cacheprovider --numprocesses auto "$@"
