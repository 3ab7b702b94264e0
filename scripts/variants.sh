#!/usr/bin/env bash
# `make variants`: builds the service with other options than the image's, and measures how that changes its size,
# instructions, CPU time and memory. The results are recorded in docs/performance/variants.json.
source "$(dirname "$0")/lib.sh"

need_rust
need python3 python3
need valgrind valgrind
need chrt util-linux
# jemalloc and OpenSSL are built by make, OpenSSL with more of Perl than perl-base has.
need make make
perl -MIPC::Cmd -MFindBin -e 1 2>/dev/null || apt_install perl
target=$(rustc -vV | sed -n 's/^host: //p')
cargo fetch --locked --quiet
flags=$(image_flags)
built="$ROOT/target/variants"
mkdir -p "$built/bin"
variants=() build=(cargo auditable build) locked=(--locked)
cargo_auditable

# variant NAME [OPTION OF CARGO...]
variant() {
  local binary="$built/bin/${#variants[@]}"
  say "building: $1"
  RUSTFLAGS=$flags SOURCE_DATE_EPOCH=0 PATH="$CACHE/tools/bin:$PATH" "${build[@]}" --release "${locked[@]}" --quiet \
    --target "$target" --target-dir "$built" "${@:2}"
  cp "$built/$target/release/payment-latency-api" "$binary"
  variants+=("$1=$binary")
}

# opt_level_3 CRATE...: the options that build these crates at that level.
opt_level_3() { printf -- '--config\nprofile.release.package.%s.opt-level=3\n' "$@"; }

# shellcheck disable=SC2016  # backticks are for the table
{
  variant "as in the image"
  variant '`opt-level = 2`' --config profile.release.opt-level=2
  variant '`opt-level = 3`' --config profile.release.opt-level=3
  mapfile -t options < <(opt_level_3 payment-latency-api)
  variant '`opt-level = 3` for this crate alone' "${options[@]}"
  mapfile -t options < <(opt_level_3 payment-latency-api rustls tokio httparse serde_json)
  variant '`opt-level = 3` for this crate, rustls, tokio, httparse and serde_json' "${options[@]}"
  variant '`lto = "thin"`' --config 'profile.release.lto="thin"'
  variant '`panic = "unwind"`' --config 'profile.release.panic="unwind"'
}
variant "the system's allocator" --features system-allocator
flags=${flags/-C link-arg=-Wl,-z,pack-relative-relocs/}
variant "relocations not packed"
flags=$(image_flags) build=(cargo build)
variant "without the list of crates"

# The rest is built from copies of the source with other crates, in their newest versions that fit: the result depends on
# the date of the run, and neither these crates nor the lock files belong to the service.

# copy NAME
copy() {
  other=$built/$1 build=(cargo auditable build --manifest-path "$built/$1/Cargo.toml") locked=()
  rm -rf "$other" && mkdir -p "$other"
  git ls-files -z -- Cargo.toml Cargo.lock src benches migrations tests | xargs -0 cp --parents -t "$other"
}

# uses CRATE: the copy that was built last has it.
uses() { grep -q "name = \"$1\"" "$other/Cargo.lock" || die "the build did not use $1"; }

copy jemalloc
sed -i 's/^mimalloc = .*/mimalloc = { package = "tikv-jemallocator", version = "0.7" }/' "$other/Cargo.toml"
sed -i 's/mimalloc::MiMalloc/mimalloc::Jemalloc/g' "$other/src/main.rs"
variant "jemalloc in mimalloc's place"
uses tikv-jemalloc-sys

# aws-lc-rs has ring's interface.
copy aws-lc-rs
sed -i -e 's/^ring = .*/ring = { package = "aws-lc-rs", version = "1", default-features = false, features = ["aws-lc-sys"] }/' \
  -e '/^rustls = .*"tls12"/s/"ring"/"aws_lc_rs"/' "$other/Cargo.toml"
grep -rlZ 'crypto::ring' "$other/src" | xargs -0 sed -i -e 's/crypto::ring::{self, /crypto::aws_lc_rs::{self as ring, /'
variant "aws-lc-rs in ring's place"
uses aws-lc-sys

# OpenSSL below rustls alone: all other hashes stay ring's, which has no interface in common with it.
copy openssl
sed -i -e '/^rustls = .*"tls12"/s/"ring", //' \
  -e '/^ring = /a rustls-openssl = { version = "0.4", default-features = false, features = ["tls12", "vendored"] }' \
  "$other/Cargo.toml"
grep -rlZ 'crypto::ring' "$other/src" | xargs -0 sed -i -e 's/rustls::crypto::ring::{self, /rustls_openssl::{self as ring, /'
variant "OpenSSL in ring's place for TLS"
uses openssl-src

stage_in_memory "$built/bin/0"
python3 -B benches/variants.py "${variants[@]}"
python3 -B benches/quotes.py
