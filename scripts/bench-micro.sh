#!/usr/bin/env bash
# Measures the steps of a payment one by one: time and allocations of each.
source "$(dirname "$0")/lib.sh"

need_rust
cd benches/harness
CARGO_TARGET_DIR="$ROOT/target/harness" cargo bench --quiet "$@"
