#!/usr/bin/env bash
# `make bench-against`: measures the service as it is here and as it was at REVISION, in turns. Without REVISION it uses
# that of docs/performance/results.json: is this record still valid for today's code?
source "$(dirname "$0")/lib.sh"

need_rust
need python3 python3
need chrt util-linux
need valgrind valgrind
recorded=$(python3 -c 'import json; print(json.load(open("docs/performance/results.json"))["machine"]["revision"])')
revision=${REVISION:-$recorded}
commit=$(git rev-parse --verify --quiet "${revision%% *}^{commit}") ||
  die "revision $revision was not found in this repository: if it is a shallow clone, run git fetch --unshallow"
target=$(rustc -vV | sed -n 's/^host: //p')
# One folder for each commit: cargo compares times, and a file's time is that of its commit, which may be earlier than
# the last build.
other=$ROOT/target/against/$commit
say "building the service as it is here, and as it was at $revision"
build_for_image "$target"
rm -rf "$other/source" && mkdir -p "$other/source"
git archive "$commit" | tar -x -C "$other/source"
(cd "$other/source" && CARGO_TARGET_DIR="$other" build_for_image "$target")

stage_in_memory "$ROOT/target/$target/release/payment-latency-api"
python3 -B benches/against.py "$revision" "$other/$target/release/payment-latency-api"
