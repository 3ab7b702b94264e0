#!/usr/bin/env bash
# `make scan`: looks for known vulnerabilities in what the binary is made of, and in what builds it, by the list of
# `make sbom`.
#
# The image contains only that binary (scripts/image-test.sh), so nothing in it is left out.
source "$(dirname "$0")/lib.sh"

GRYPE_VERSION=0.121.2

[ -f target/sbom.cdx.json ] || die "target/sbom.cdx.json was not found: run make sbom first"
PATH="$CACHE/tools/bin:$PATH"
go_tool grype github.com/anchore/grype/cmd/grype "$GRYPE_VERSION" ||
  die "grype $GRYPE_VERSION could not be built from its Go module"
# grype also fails without its database: a scan without an answer is not a pass.
GRYPE_CHECK_FOR_APP_UPDATE=false grype --quiet --fail-on low sbom:target/sbom.cdx.json
say "no known vulnerability in what the binary is made of, or in what builds it"
