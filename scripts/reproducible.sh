#!/usr/bin/env bash
# `make reproducible`: the image's binary, built in two folders with two homes of cargo, is the same
# bytes. Two whole builds, so it is not part of CI.
source "$(dirname "$0")/lib.sh"

need_rust
need git git
need strings binutils
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=$(rustc -vV | sed -n 's/^host: //p')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

# What is committed, under paths of different lengths; the second sees cargo's home by another name.
mkdir -p "$folder/a" "$folder/another/place"
for where in "$folder/a" "$folder/another/place"; do
  git archive HEAD | tar -x -C "$where"
done
ln -s "$cargo_home" "$folder/home"
sums=()
for build in "$folder/a $cargo_home" "$folder/another/place $folder/home"; do
  read -r where home <<<"$build"
  say "building in $where"
  (
    cd "$where"
    export CARGO_HOME=$home CARGO_TARGET_DIR="$where/target"
    GIT_REVISION=reproducible BUILD_TIMESTAMP=1970-01-01T00:00:00Z build_for_image "$target"
  )
  sums+=("$(sha256sum <"$where/target/$target/release/payment-latency-api" | cut -d' ' -f1)")
done
printf '%s\n' "${sums[@]}"
first="$folder/a/target/$target/release/payment-latency-api"
second="$folder/another/place/target/$target/release/payment-latency-api"
if [ "${sums[0]}" != "${sums[1]}" ]; then
  diff <(strings -n 8 "$first") <(strings -n 8 "$second") | head -n 20 >&2 || true
  die "the two builds differ"
fi
if grep -aqF -e "$cargo_home" -e "$folder" "$first"; then
  die "the binary holds a path of this machine"
fi
say "the same $(stat -c %s "$first") bytes"
