#!/usr/bin/env bash
# `make phases-test`: the phases, status, down and the rotation of the API key against stand-ins of the tools that reach
# out, and against the real aws client with moto. No account, no cluster.
source "$(dirname "$0")/lib.sh"

PACKAGES=(awscli==1.45.11 "moto[server]==5.2.5" pyyaml==6.0.3)

need jq jq
need openssl openssl
need git git
venv="$CACHE/phases"
need_packages "$venv" "${PACKAGES[@]}"
cd scripts/phases/tests
AWS_BIN="$venv/bin/aws" MOTO_BIN="$venv/bin/moto_server" "$venv/bin/python" -B -m unittest "$@"
