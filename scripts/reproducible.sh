#!/usr/bin/env bash
# `make reproducible`: checks that the image's binary has the same bytes when it is built here and in another folder,
# with cargo's home under another name.
source "$(dirname "$0")/lib.sh"

need_rust
need git git
need strings binutils
cargo_home=${CARGO_HOME:-$HOME/.cargo}
target=$(rustc -vV | sed -n 's/^host: //p')
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
stamp "$(git rev-parse HEAD)"

say "building here"
build_for_image "$target"
here="$ROOT/target/$target/release/payment-latency-api"

say "building elsewhere"
elsewhere="$folder/another/place"
mkdir -p "$elsewhere"
git ls-files -co --exclude-standard -z | tar --create --null --files-from - | tar --extract --directory "$elsewhere"
ln -s "$cargo_home" "$folder/home"
(
  cd "$elsewhere"
  export CARGO_HOME="$folder/home" CARGO_TARGET_DIR="$elsewhere/target"
  build_for_image "$target"
)
there="$elsewhere/target/$target/release/payment-latency-api"

sha256sum "$here" "$there"
if ! cmp --silent "$here" "$there"; then
  diff <(strings -n 8 "$here") <(strings -n 8 "$there") | head -n 20 >&2 || true
  die "the two builds differ: their first different strings are above"
fi
# The symbolic link may have been resolved.
if grep -aqF -e "$cargo_home" "$here"; then
  die "the binary contains a path of this machine: $cargo_home"
fi
say "both builds have the same $(stat -c %s "$here") bytes"
