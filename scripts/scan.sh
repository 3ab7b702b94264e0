#!/usr/bin/env bash
# `make scan`: known vulnerabilities of what the binary is made of, and of what builds it, from the list of `make sbom`.
#
# The image holds that binary alone (scripts/image-test.sh), so nothing of it is left out.
source "$(dirname "$0")/lib.sh"

GRYPE_VERSION=0.121.2

[ -f target/sbom.cdx.json ] || die "there is no list: make sbom first"
PATH="$CACHE/tools/bin:$PATH"
go_tool grype github.com/anchore/grype/cmd/grype "$GRYPE_VERSION" ||
  die "grype $GRYPE_VERSION could not be built from its Go module"
# grype also fails without its database: no answer is not a good one.
GRYPE_CHECK_FOR_APP_UPDATE=false grype --quiet --fail-on low sbom:target/sbom.cdx.json
say "nothing known against what the binary is made of"
