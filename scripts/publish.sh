#!/usr/bin/env bash
# Pushes what a release puts into a registry. On standard output it prints only the digest of what it pushed.
#
#   publish.sh image REPOSITORY ARCHIVE    an image built by scripts/image.sh, tagged VERSION-ARCHITECTURE
#   publish.sh index REPOSITORY DIGEST...  one name, VERSION, for the images of all architectures
#   publish.sh chart REPOSITORY            the chart, as REPOSITORY/payment-latency-api:VERSION
#
# REGISTRY_AUTH_FILE holds the login. PLAIN_HTTP=yes is for a registry on loopback.
source "$(dirname "$0")/lib.sh"
# shellcheck source=cluster/versions.sh
source "$ROOT/scripts/cluster/versions.sh"

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

image() {
  local repository=$1 archive=$2 architecture tls=()
  [ "${PLAIN_HTTP:-}" != yes ] || tls=(--dest-tls-verify=false)
  need skopeo skopeo >&2
  architecture=$(skopeo inspect --format '{{.Architecture}}' "docker-archive:$archive")
  skopeo copy --quiet "${tls[@]}" --digestfile "$work/digest" \
    "docker-archive:$archive" "docker://$repository:$version-$architecture" >&2
}

index() {
  local repository=$1 digest tls=() store=(buildah --storage-driver vfs --root "$work/root" --runroot "$work/run")
  shift
  [ "${PLAIN_HTTP:-}" != yes ] || tls=(--tls-verify=false)
  need buildah buildah >&2
  "${store[@]}" manifest create release >/dev/null
  for digest; do
    "${store[@]}" manifest add "${tls[@]}" release "docker://$repository@$digest" >/dev/null
  done
  # The index has the images' format, which is Docker's: OCI's has no HEALTHCHECK.
  "${store[@]}" manifest push "${tls[@]}" --quiet --all --format v2s2 --digestfile "$work/digest" \
    release "docker://$repository:$version" >&2
}

chart() {
  local repository=$1 plain=()
  [ "${PLAIN_HTTP:-}" != yes ] || plain=(--plain-http)
  scripts/cluster/build.sh helm >&2
  "$CLUSTER_BIN/helm" package chart --destination "$work" >&2
  "$CLUSTER_BIN/helm" push "${plain[@]}" ${REGISTRY_AUTH_FILE:+--registry-config "$REGISTRY_AUTH_FILE"} \
    "$work"/payment-latency-api-*.tgz "oci://$repository" >"$work/said" 2>&1 || { cat "$work/said" >&2; exit 1; }
  sed -n 's/^Digest: //p' "$work/said" >"$work/digest"
}

case ${1:-} in
  image | index | chart) "$@" ;;
  *) die "usage: $0 image|index|chart REPOSITORY..., not '${1:-}'" ;;
esac
digest=$(cat "$work/digest")
[[ $digest =~ ^sha256:[0-9a-f]{64}$ ]] || die "the registry returned no digest"
printf '%s\n' "$digest"
