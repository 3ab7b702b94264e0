#!/usr/bin/env bash
# `make sbom`: lists what the binary is made of, in CycloneDX, and the notices of whoever wrote it.
source "$(dirname "$0")/lib.sh"

need_rust
need git git
need python3 python3
mkdir -p target
# The commit's time, so that one commit has one list.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct 2>/dev/null || echo 0)
export SOURCE_DATE_EPOCH
target=$(rustc -vV | sed -n 's/^host: //p')
python3 -B scripts/sbom.py "$target" target/sbom.cdx.json
python3 -B scripts/notices.py "$target" target/sbom.cdx.json target/notices.txt
