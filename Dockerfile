# syntax=docker/dockerfile:1
# The service alone: one static binary on nothing. `make image` builds only the last stage, from a binary that it builds
# on this machine, so it pulls no base image.

# Named by tag until Renovate's first run, which adds the digest (docker:pinDigests in .github/renovate.json). Releases
# do not use this stage: `make image` takes the compiler that rust-toolchain.toml names.
FROM docker.io/library/rust:1.95-slim-bookworm AS builder
ARG GIT_REVISION=unknown
ARG BUILD_TIMESTAMP=unknown
ENV GIT_REVISION=$GIT_REVISION BUILD_TIMESTAMP=$BUILD_TIMESTAMP
# Puts the list of crates into the binary, where image scanners look for it. It comes before the static flags, with
# which its macros cannot be built.
ARG CARGO_AUDITABLE_VERSION=0.7.7
RUN cargo install --locked --quiet "cargo-auditable@$CARGO_AUDITABLE_VERSION"
# A static binary with packed relocations. Randomness comes from the system call alone: the image has no /dev/urandom to
# fall back to.
ENV RUSTFLAGS='-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs --cfg getrandom_backend="linux_getrandom"'
# C code that asks for its compile time gets this one, so that the same source gives the same bytes.
ENV SOURCE_DATE_EPOCH=0
WORKDIR /build
COPY . .
# With an explicit target, the static flags do not apply to build scripts and macros. Panic messages contain the
# registry's folder, so it gets a name that is the same everywhere.
RUN target=$(rustc -vV | sed -n 's/^host: //p') \
    && cargo fetch --locked \
    && for registry in "$CARGO_HOME"/registry/src/*; do \
         RUSTFLAGS="$RUSTFLAGS --remap-path-prefix=$registry=cargo"; done \
    && cargo auditable build --release --locked --target "$target" \
    && install -D "target/$target/release/payment-latency-api" /out/payment-latency-api

FROM scratch AS image
ARG VERSION=unknown
ARG GIT_REVISION=unknown
ARG BUILD_TIMESTAMP=unknown
LABEL org.opencontainers.image.title="payment-latency-api" \
      org.opencontainers.image.description="Simulates payments: one durable PostgreSQL write per request" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$GIT_REVISION" \
      org.opencontainers.image.created="$BUILD_TIMESTAMP"
COPY --from=builder /out/payment-latency-api /payment-latency-api
# mimalloc takes pages of its arena only when they are used and returns them when they are not: memory at rest falls to
# a third. Its own records grow with the arena that it reserves, so that is 32 MiB instead of 1 GiB.
ENV MIMALLOC_ARENA_EAGER_COMMIT=0 MIMALLOC_PURGE_DELAY=0 MIMALLOC_ARENA_RESERVE=32MiB
# A packet that a name server does not answer costs a new connection one second, not five (resolv.conf(5)).
ENV RES_OPTIONS="timeout:1 attempts:3"
USER 65534:65534
EXPOSE 8080
HEALTHCHECK --interval=10s --timeout=2s --start-period=5s \
    CMD ["/payment-latency-api", "probe", "/livez"]
ENTRYPOINT ["/payment-latency-api"]
