#!/usr/bin/env bash
# `make reproducible`: the image's binary, built in two folders with two homes of cargo, is the same
# bytes. Two whole builds, so it is not part of CI.
source "$(dirname "$0")/lib.sh"

need_rust
need git git
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=$(rustc -vV | sed -n 's/^host: //p')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cargo fetch --locked --quiet

# What is committed, under paths of different lengths; the second sees cargo's home by another name.
mkdir -p "$folder/a" "$folder/another/place"
git archive HEAD | tee >(tar -x -C "$folder/another/place") | tar -x -C "$folder/a"
ln -s "$cargo_home" "$folder/home"
sums=()
for build in "$folder/a $cargo_home" "$folder/another/place $folder/home"; do
  read -r where home <<<"$build"
  say "building in $where"
  (
    cd "$where"
    export CARGO_HOME=$home GIT_REVISION=reproducible BUILD_TIMESTAMP=1970-01-01T00:00:00Z
    RUSTFLAGS=$(image_flags) CARGO_TARGET_DIR="$where/target" \
      cargo build --release --locked --quiet --target "$target"
  )
  sums+=("$(sha256sum <"$where/target/$target/release/payment-latency-api" | cut -d' ' -f1)")
done
printf '%s\n' "${sums[@]}"
if [ "${sums[0]}" != "${sums[1]}" ]; then
  strings -n 8 "$folder/a/target/$target/release/payment-latency-api" >"$folder/first"
  strings -n 8 "$folder/another/place/target/$target/release/payment-latency-api" | diff "$folder/first" - | head -n 20 >&2 || true
  die "the two builds differ"
fi
if grep -aqE "$cargo_home|$folder" "$folder/a/target/$target/release/payment-latency-api"; then
  die "the binary holds a path of this machine"
fi
say "the same bytes: $(stat -c %s "$folder/a/target/$target/release/payment-latency-api")"
