#!/usr/bin/env bash
# `make simulate-mutants`: makes mutants of the code, in a copy, and expects the simulation to find each one.
# SEEDS=2000 is the number of seeds for each mutant; ONLY='some words' tries only the mutants whose text has these
# words, and records nothing.
source "$(dirname "$0")/lib.sh"

need_rust
need python3 python3
need git git
python3 -B scripts/simulate-mutants.py
[ -n "${ONLY:-}" ] || python3 -B benches/reliability.py
