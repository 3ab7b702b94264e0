#!/usr/bin/env bash
# Builds the contestants and the harness, then lets benches/bench.py run them side by side.
source "$(dirname "$0")/lib.sh"

need_rust
need python3 python3
need chrt util-linux
need pgbouncer pgbouncer
need valgrind valgrind
need strace strace
need strip binutils
say "building the service, the harness and the peers (takes minutes the first time)"
target=$(rustc -vV | sed -n 's/^host: //p')
flags=$(image_flags)
build_for_image "$target"
# The same program once more, with symbols, to see where instructions are spent.
RUSTFLAGS=$flags CARGO_PROFILE_RELEASE_STRIP=none CARGO_PROFILE_RELEASE_DEBUG=line-tables-only \
  CARGO_TARGET_DIR=target/symbols cargo build --release --locked --quiet --target "$target"
for peer in benches/peers/axum-*/; do
  (cd "$peer" && CARGO_TARGET_DIR="$ROOT/target/peers" cargo build --release --locked --quiet)
done
if have go; then
  (cd benches/peers/go-pgxpool && go build -o "$ROOT/target/peers/go-pgxpool" .)
else
  rm -f target/peers/go-pgxpool
fi

stage_in_memory "$ROOT/target/$target/release/payment-latency-api"
export SERVICE_WITH_SYMBOLS="$ROOT/target/symbols/$target/release/payment-latency-api"
python3 -B benches/bench.py "$@"
