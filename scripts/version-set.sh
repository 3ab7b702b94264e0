#!/usr/bin/env bash
# `make version-set VERSION=1.2.3`: sets the version of the service, its lock files, the chart, and docs/openapi.yaml.
source "$(dirname "$0")/lib.sh"

version=${1:-}
[[ $version =~ $VERSION_FORM ]] || die "VERSION='$version' is not valid: it must have the form 1.2.3 or 1.2.3-rc.1"

sed -i "0,/^version = .*/s//version = \"$version\"/" Cargo.toml
# The harness and the fuzz targets are built with the service, so their lock files name its version, too.
sed -i "/^name = \"payment-latency-api\"$/{n;s/^version = .*/version = \"$version\"/}" \
  Cargo.lock benches/harness/Cargo.lock fuzz/Cargo.lock
sed -i "s/^version: .*/version: $version/; s/^appVersion: .*/appVersion: \"$version\"/" chart/Chart.yaml
sed -i "0,/^  version: .*/s//  version: $version/" docs/openapi.yaml
say "set the version of the service and the chart to $version"
