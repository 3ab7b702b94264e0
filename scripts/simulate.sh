#!/usr/bin/env bash
# `make simulate SEEDS=… [FIRST=…]`: runs the simulation of tests/simulation with more seeds, or from one seed on.
source "$(dirname "$0")/lib.sh"

export SEEDS="${SEEDS:-100000}" FIRST="${FIRST:-0}"

need_rust
say "simulating $SEEDS seeds, starting at $FIRST"
cargo test --locked --profile simulate --test simulation every_invariant -- --nocapture
