#!/usr/bin/env bash
# `make version-set VERSION=1.2.3`: one version for the service, its lock file and the chart.
source "$(dirname "$0")/lib.sh"

version=${1:-}
[[ $version =~ ^[0-9]+\.[0-9]+\.[0-9]+(-[0-9A-Za-z.]+)?$ ]] || die "say VERSION=1.2.3, not VERSION=$version"

sed -i "0,/^version = .*/s//version = \"$version\"/" Cargo.toml
sed -i "/^name = \"payment-latency-api\"$/{n;s/^version = .*/version = \"$version\"/}" Cargo.lock
sed -i "s/^version: .*/version: $version/; s/^appVersion: .*/appVersion: \"$version\"/" chart/Chart.yaml
say "the service and the chart are $version; UPDATE_GOLDEN=1 make chart-test renders the regions anew"
