#!/usr/bin/env bash
# `make fuzz MINUTES=10 TARGETS='requests chunks'`: fuzzes each target for that long, as many at once as there are
# cores. KEEP=1 adds to fuzz/corpus the inputs that reach code which nothing there reaches. Runs of ten minutes or more
# are recorded in docs/reliability/fuzz.json.
#
# libFuzzer, with LLVM's own coverage: the pinned stable compiler is enough.
source "$(dirname "$0")/lib.sh"

export MINUTES=${MINUTES:-1}
if [ -z "${TARGETS:-}" ]; then
  TARGETS=$(for file in fuzz/fuzz_targets/*.rs; do basename "$file" .rs; done)
fi
[[ $MINUTES =~ ^[1-9][0-9]*$ ]] || die "MINUTES=$MINUTES is not valid: it must be a whole number of at least 1"

need_rust
need c++ g++
need python3 python3
host=$(rustc -vV | sed -n 's/^host: //p')
export FOUND="$ROOT/target/fuzz"
export PROGRAMS="$FOUND/$host/release"
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
# Left by an earlier run.
rm -f "$FOUND"/*.log "$FOUND"/*.seconds "$FOUND"/*.findings
say "building the targets"
# With --target the flags do not apply to build scripts.
RUSTFLAGS=$coverage cargo build --manifest-path fuzz/Cargo.toml --release --locked --quiet \
  --target "$host" --target-dir "$FOUND"

# fuzz_one TARGET: leaves its log, its CPU seconds and its findings in $FOUND.
fuzz_one() {
  local kept="fuzz/corpus/$1" corpus="$FOUND/corpus/$1" log="$FOUND/$1.log"
  mkdir -p "$corpus" "$FOUND/artifacts"
  echo "==> $1, $MINUTES min" >&2
  # New inputs are written to the first folder; the repository's own are only read.
  TIMEFORMAT=%U
  {
    time "$PROGRAMS/$1" "$corpus" "$kept" "-dict=fuzz/dictionaries/$1" \
      -max_total_time=$((MINUTES * 60)) -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
      -artifact_prefix="$FOUND/artifacts/$1-" >"$log" 2>&1 && found=0 || found=1
  } 2>"$FOUND/$1.seconds"
  echo "$found" >"$FOUND/$1.findings"
  [ "$found" = 0 ] || tail -n 40 "$log" >&2
  [ -n "${KEEP:-}" ] || return 0
  # Inputs that a fuzzer named, by their SHA-1, compete again; those that people named are kept.
  find "$kept" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -exec mv -t "$corpus" {} +
  "$PROGRAMS/$1" -set_cover_merge=1 -use_counters=0 -max_len=400 -timeout=10 "$kept" "$corpus" >"$FOUND/$1.merge.log" 2>&1
}
export -f fuzz_one

# shellcheck disable=SC2086  # one argument for each target
printf '%s\n' $TARGETS | xargs -P "$(nproc)" -I{} bash -euo pipefail -c 'fuzz_one {}' || failed=1
# shellcheck disable=SC2086
python3 -B scripts/fuzzed.py "$FOUND" "$MINUTES" $TARGETS
[ -z "${failed:-}" ] || die "a target could not be run, or its inputs not merged: see $FOUND/*.log"
