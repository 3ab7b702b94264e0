#!/usr/bin/env bash
# `make fuzz MINUTES=10 TARGETS='requests chunks'`: fuzzes each target for so long, one after another.
# KEEP=1 takes over into fuzz/corpus what reaches code that nothing there reaches.
#
# libFuzzer, with LLVM's own coverage: the pinned stable compiler is enough.
source "$(dirname "$0")/lib.sh"

MINUTES=${MINUTES:-1}
if [ -z "${TARGETS:-}" ]; then
  TARGETS=$(for file in fuzz/fuzz_targets/*.rs; do basename "$file" .rs; done)
fi
found="$ROOT/target/fuzz"
[[ $MINUTES =~ ^[1-9][0-9]*$ ]] || die "MINUTES=$MINUTES is no whole number from 1"

need_rust
need c++ g++
host=$(rustc -vV | sed -n 's/^host: //p')
coverage="-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4"
coverage+=" -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table"
coverage+=" -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 --cfg fuzzing"
say "building the targets"
# With --target the flags stay away from build scripts.
RUSTFLAGS=$coverage cargo build --manifest-path fuzz/Cargo.toml --release --locked --quiet \
  --target "$host" --target-dir "$found"

failed=()
table=
TIMEFORMAT=%U
for target in $TARGETS; do
  program="$found/$host/release/$target"
  kept="fuzz/corpus/$target"
  corpus="$found/corpus/$target"
  log="$found/$target.log"
  mkdir -p "$corpus" "$found/artifacts"
  say "$target, $MINUTES min"
  # New inputs go to the first folder; the repository's own are only read.
  if ! {
    time "$program" "$corpus" "$kept" "-dict=fuzz/dictionaries/$target" \
      -max_total_time=$((MINUTES * 60)) -timeout=10 -rss_limit_mb=2048 -max_len=4096 -print_final_stats=1 \
      -artifact_prefix="$found/artifacts/$target-" >"$log" 2>&1
  } 2>"$found/seconds"; then
    failed+=("$target")
    tail -n 40 "$log" >&2
  fi
  runs=$(sed -n 's/^stat::number_of_executed_units: *//p' "$log")
  edges=$(grep -oE 'cov: [0-9]+' "$log" | tail -n 1 | grep -oE '[0-9]+' || true)
  of=$(sed -nE 's/.*Loaded 1 modules +\(([0-9]+) inline.*/\1/p' "$log")
  table+="| \`$target\` | $MINUTES | $(<"$found/seconds") | $runs | $edges of $of |"$'\n'
  if [ -n "${KEEP:-}" ]; then
    # Those that a fuzzer named, by their SHA-1, compete again; those that people named stay.
    find "$kept" -type f -regextype egrep -regex '.*/[0-9a-f]{40}' -exec mv -t "$corpus" {} +
    "$program" -set_cover_merge=1 -use_counters=0 -max_len=400 -timeout=10 "$kept" "$corpus" >>"$log" 2>&1
  fi
done
printf '\n| Target | Minutes | Processor seconds | Executions | Edges |\n|---|---|---|---|---|\n%s' "$table"
[ ${#failed[@]} = 0 ] || die "findings in ${failed[*]}; the inputs are in $found/artifacts"
