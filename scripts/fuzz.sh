#!/usr/bin/env bash
# `make fuzz MINUTES=10 TARGETS='requests chunks'`: fuzzes each target for so long, one after another.
# libFuzzer, with LLVM's own coverage: the pinned stable compiler is enough.
source "$(dirname "$0")/lib.sh"

MINUTES=${MINUTES:-1}
TARGETS=${TARGETS:-$(cd fuzz/fuzz_targets && ls | sed 's/\.rs$//' | tr '\n' ' ')}
found="$ROOT/target/fuzz"

need_rust
need c++ g++
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
host=$(rustc -vV | sed -n 's/^host: //p')
say "building the targets"
# With --target the flags stay away from build scripts.
RUSTFLAGS=$(tr '\n' ' ' <<<"$coverage") cargo build --manifest-path fuzz/Cargo.toml --release --locked \
  --quiet --target "$host" --target-dir "$found"

failed=()
table=
for target in $TARGETS; do
  corpus="$found/corpus/$target"
  log="$found/$target.log"
  mkdir -p "$corpus" "$found/artifacts"
  say "$target, $MINUTES min"
  dictionary=()
  [ -f "fuzz/dictionaries/$target" ] && dictionary=("-dict=fuzz/dictionaries/$target")
  # New inputs go to the first folder; the repository's own are only read.
  if ! "$found/$host/release/$target" "$corpus" "fuzz/corpus/$target" "${dictionary[@]}" \
    -max_total_time=$((MINUTES * 60)) -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="$found/artifacts/$target-" >"$log" 2>&1; then
    failed+=("$target")
    tail -n 40 "$log" >&2
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | grep -oE '[0-9]+' || true)
  of=$(grep -oE 'Loaded 1 modules +\([0-9]+ inline' "$log" | grep -oE '[0-9]+ inline' | grep -oE '[0-9]+' || true)
  table+=$(printf '| %s | %s | %s | %s | %s |' "\`$target\`" "$MINUTES" "$runs" "$edges of $of" \
    "$(find "$corpus" -type f | wc -l)")$'\n'
done
printf '\n| Target | Minutes | Executions | Edges | Corpus |\n|---|---|---|---|---|\n%s' "$table"
[ ${#failed[@]} = 0 ] || die "findings in ${failed[*]}; the inputs are in $found/artifacts"
