#!/usr/bin/env bash
# `make check`: format, lints, scripts, house rules, licences.
source "$(dirname "$0")/lib.sh"

CARGO_DENY_VERSION=0.20.2

need_rust
need shellcheck shellcheck
need git git
need python3 python3

say "rustfmt"
cargo fmt --all --check
for crate in benches/harness benches/peers/axum-* fuzz tests/peers/http-compare; do
  (cd "$crate" && cargo fmt --check)
done
say "clippy"
cargo clippy --all-targets --locked --quiet -- -D warnings
(cd benches/harness && CARGO_TARGET_DIR="$ROOT/target/harness" cargo clippy --all-targets --locked --quiet -- -D warnings)
say "the peers"
for peer in benches/peers/axum-* tests/peers/http-compare; do
  (cd "$peer" && CARGO_TARGET_DIR="$ROOT/target/peers" cargo check --locked --quiet)
done
unchecked=()
if have go && (cd benches/peers/go-pgxpool && go mod download); then
  (cd benches/peers/go-pgxpool && go vet ./...)
else
  unchecked+=("the peer in Go: Go is not installed, or its modules could not be fetched")
fi
(cd fuzz && cargo metadata --locked --format-version 1 >/dev/null) ||
  die "cargo metadata failed in fuzz; if fuzz/Cargo.lock is out of date, run cargo metadata there without --locked"
say "shellcheck"
shellcheck -x -P scripts:scripts/phases scripts/*.sh scripts/cluster/*.sh scripts/phases/*.sh scripts/rehearse/*.sh .ci/run
say "house rules"
scripts/tidy.sh
say "mutants of the simulation"
python3 -B scripts/simulate-mutants.py --check
said=$(mktemp)
for part in docs workflows; do
  say "$part"
  "scripts/$part-check.sh" | tee -a "$said"
done
mapfile -t -O "${#unchecked[@]}" unchecked < <(sed -n 's/^NOT CHECKED: //p' "$said")
rm -f "$said"
say "releases"
(cd scripts && python3 -B -m unittest --quiet release_test)

say "licences, bans, sources"
deny="$CACHE/tools/bin/cargo-deny"
if cargo_tool cargo-deny "$CARGO_DENY_VERSION"; then
  "$deny" --log-level error check licenses bans sources
  if ! advisories=$("$deny" --log-level error check advisories 2>&1); then
    # A missing advisory database does not fail the check; a finding does.
    if grep -qE 'error\[(vulnerability|unmaintained|unsound|notice|yanked)' <<<"$advisories"; then
      printf '%s\n' "$advisories" >&2
      die "a dependency has an advisory: see above"
    fi
    unchecked+=("advisories: the RustSec database could not be fetched or read: $(grep . <<<"$advisories" | tail -n 1)")
  fi
else
  unchecked+=("licences, bans and sources: cargo-deny could not be built")
fi
say "every check that could run has passed"
for what in "${unchecked[@]}"; do
  printf 'NOT CHECKED: %s\n' "$what"
done
