#!/usr/bin/env bash
# `make simulate-breaks`: breaks the code on purpose, in a copy, and expects the simulation to find each break.
# SEEDS=2000 is how many it has for each; ONLY='some words' tries those that have these words, and records nothing.
source "$(dirname "$0")/lib.sh"

need_rust
need python3 python3
need git git
python3 -B scripts/simulate-breaks.py
[ -n "${ONLY:-}" ] || python3 -B benches/reliability.py
