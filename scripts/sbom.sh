#!/usr/bin/env bash
# `make sbom`: what the binary is made of, as CycloneDX: the locked dependencies that are built for it.
source "$(dirname "$0")/lib.sh"

CARGO_CYCLONEDX_VERSION=0.5.9
need_rust
need python3 python3
tool="$CACHE/tools/bin/cargo-cyclonedx"
if ! "$tool" cyclonedx --version 2>/dev/null | grep -q " $CARGO_CYCLONEDX_VERSION\$"; then
  say "building cargo-cyclonedx $CARGO_CYCLONEDX_VERSION (once a machine; some minutes)"
  cargo install --locked --quiet "cargo-cyclonedx@$CARGO_CYCLONEDX_VERSION" --root "$CACHE/tools" \
    --target-dir "$CACHE/cargo-cyclonedx"
  rm -rf "$CACHE/cargo-cyclonedx"
fi
target=$(rustc -vV | sed -n 's/^host: //p')
mkdir -p target
# The commit's time, so that one commit has one list.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0) "$tool" cyclonedx --quiet --format json \
  --spec-version 1.5 --target "$target" --no-build-deps --override-filename sbom.cdx
mv sbom.cdx.json target/sbom.cdx.json
python3 - <<'PY'
import json
import subprocess

sbom = json.load(open("target/sbom.cdx.json"))
assert sbom["bomFormat"] == "CycloneDX", sbom["bomFormat"]
listed = {(part["name"], part["version"]) for part in sbom["components"]}
tree = subprocess.run(
    ["cargo", "tree", "--locked", "--edges", "normal", "--prefix", "none", "--format", "{p}"],
    check=True, capture_output=True, text=True,
).stdout
built = {tuple(line.split()[:2]) for line in tree.splitlines() if line}
built = {(name, version.removeprefix("v")) for name, version in built} - {(sbom["metadata"]["component"]["name"],
         sbom["metadata"]["component"]["version"])}
missing = built - listed
assert not missing, f"the list lacks {sorted(missing)}"
print(f"==> target/sbom.cdx.json lists {len(listed)} crates")
PY
