#!/usr/bin/env bash
# Builds the image's last stage from a static binary that is built here, and checks the binary's size.
#
# `docker build .` builds all stages, if base images can be pulled.
# scripts/image.sh [REVISION]: the revision that the image names, if it is not the newest commit.
# IMAGE_SOURCE is the repository's address, for a label: only whoever builds the image knows it.
source "$(dirname "$0")/lib.sh"

ceiling=5000000
out="$ROOT/target/image"

need_rust
need buildah buildah
need git git
target=$(rustc -vV | sed -n 's/^host: //p')
revision=${1:-$(git rev-parse HEAD 2>/dev/null || echo unknown)}
stamp "$revision"
version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)

say "building a static binary for $target"
# With an explicit target, the static flags do not apply to build scripts and macros.
build_for_image "$target"
binary="target/$target/release/payment-latency-api"

rm -rf "$out"
mkdir -p "$out/context/out"
cp "$binary" "$out/context/out/payment-latency-api"
# The Dockerfile's last stage; the binary that was built here replaces the builder stage.
sed -n '/^FROM scratch AS image/,$p' Dockerfile | sed 's/COPY --from=builder /COPY /' >"$out/context/Dockerfile"

say "building the image"
storage=$(mktemp -d)
trap 'rm -rf "$storage"' EXIT
store() { buildah --storage-driver vfs --root "$storage/root" --runroot "$storage/run" "$@"; }
# Buildah's own format drops HEALTHCHECK.
store bud --isolation chroot --format docker --quiet \
  --build-arg "VERSION=$version" --build-arg "GIT_REVISION=$GIT_REVISION" \
  --build-arg "BUILD_TIMESTAMP=$BUILD_TIMESTAMP" \
  ${IMAGE_SOURCE:+--label "org.opencontainers.image.source=$IMAGE_SOURCE"} \
  -t "payment-latency-api:$version" "$out/context" >/dev/null
store push --quiet "payment-latency-api:$version" \
  "docker-archive:$out/payment-latency-api.tar:payment-latency-api:$version"

size=$(stat -c %s "$binary")
say "the image is target/image/payment-latency-api.tar; its binary has $size bytes"
[ "$size" -le "$ceiling" ] || die "the image's binary must not be larger than $ceiling bytes"
