#!/usr/bin/env bash
# `make publish-test`: pushes what `make image` built, and the chart, to a registry on loopback, and pulls them again.
source "$(dirname "$0")/lib.sh"
# shellcheck source=cluster/versions.sh
source "$ROOT/scripts/cluster/versions.sh"

archive=target/image/payment-latency-api.tar
[ -f "$archive" ] || die "$archive was not found: run make image first"
need skopeo skopeo
need curl curl
need jq jq
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

unpack docker-registry docker-registry || die "Debian's package docker-registry could not be fetched"
registry="$TOOLS/docker-registry/usr/bin/docker-registry"

scratch=$(mktemp -d)
service=
trap '[ -z "$service" ] || kill "$service" 2>/dev/null; rm -rf "$scratch"' EXIT
port=$(free_port)
cat >"$scratch/registry.yaml" <<YAML
version: 0.1
log: { accesslog: { disabled: true } }
storage: { filesystem: { rootdirectory: $scratch/storage } }
http: { addr: "127.0.0.1:$port" }
YAML
# The registry logs each request for something that it does not have yet as an error.
"$registry" serve "$scratch/registry.yaml" >"$scratch/log" 2>&1 &
service=$!
for _ in $(seq 100); do
  if curl --silent --fail --output /dev/null "http://127.0.0.1:$port/v2/"; then break; fi
  kill -0 "$service" 2>/dev/null || { cat "$scratch/log" >&2; die "the registry ended: its log is above"; }
  sleep 0.1
done

export PLAIN_HTTP=yes
repository="127.0.0.1:$port/example/payment-latency-api"
say "the image"
digest=$(make --silent publish-image REPOSITORY="$repository" ARCHIVE="$archive")
index=$(make --silent publish-index REPOSITORY="$repository" DIGESTS="$digest")
# By its version alone, as users of the release look it up.
skopeo inspect --tls-verify=false --raw "docker://$repository:$version" >"$scratch/index"
[ "sha256:$(sha256sum <"$scratch/index" | cut -d' ' -f1)" = "$index" ] || die "the tag $version does not name the index $index"
listed=$(jq -r '.manifests[] | .digest + " " + .platform.architecture' "$scratch/index")
[ "$listed" = "$digest $(skopeo inspect --format '{{.Architecture}}' "docker-archive:$archive")" ] ||
  die "the index must list only the pushed image, but lists '$listed'"
skopeo copy --quiet --src-tls-verify=false "docker://$repository:$version" "docker-archive:$scratch/pulled.tar:pulled:1"
for file in "$archive" "$scratch/pulled.tar"; do
  # A configuration is named by its hash, and names each layer by its hash.
  tar -xOf "$file" manifest.json | jq -r '.[0].Config'
done | uniq | wc -l | grep -qx 1 || die "the pulled image differs from the pushed one"
tar -xOf "$scratch/pulled.tar" "$(tar -xOf "$scratch/pulled.tar" manifest.json | jq -r '.[0].Config')" |
  jq -e '.config.Healthcheck.Test[0] == "CMD"' >/dev/null || die "the pulled image has no health check"

say "the chart"
chart=$(make --silent publish-chart REPOSITORY="127.0.0.1:$port/example/chart")
"$CLUSTER_BIN/helm" pull --plain-http "oci://127.0.0.1:$port/example/chart/payment-latency-api" --version "$version" \
  --untar --destination "$scratch" 2>&1 | grep -qF "$chart" || die "chart version $version does not have the digest $chart"
for region in spain mexico; do
  for source in chart "$scratch/payment-latency-api"; do
    "$CLUSTER_BIN/helm" template payment-latency-api "$source" -f "$source/values-$region.yaml" \
      --kube-version "$KUBERNETES_VERSION" >"$scratch/$(basename "$source").yaml"
  done
  cmp "$scratch/chart.yaml" "$scratch/payment-latency-api.yaml" || die "the pulled chart renders $region differently"
done

say "the image and the chart were pulled as they were pushed: $index, $chart"
