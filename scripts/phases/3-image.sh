#!/usr/bin/env bash
# Phase 3: builds the image once, pushes it to the registry of each region, and commits its digest to git, which Argo CD
# deploys from. An image that a region already has is not built again.
source "$(dirname "$0")/common.sh"
begin "phase 3" "the image in each region's registry, its digest in argocd/releases" "make phase-4" "$@"

# What the image is built from. It is named after the last commit that changed one of these, so that committing its
# digest does not lead to a new image.
SOURCES=(Cargo.toml Cargo.lock rust-toolchain.toml Dockerfile src migrations)

what_to_build() {
  local changed
  changed=$(git status --porcelain -- "${SOURCES[@]}" argocd chart ':!argocd/releases')
  [ -z "$changed" ] || dry || die "commit these changes first, or nobody could tell what is running: ${changed//$'\n'/,}"
  REVISION=$(git log -1 --format=%H -- "${SOURCES[@]}")
  VERSION=$(version)
  TAG="$VERSION-${REVISION:0:12}"
}

# The image's repository in a region, as skopeo names it.
place() {
  local registry repository
  registry=$(fact "$1" image_registry)
  repository=$(fact "$1" image_repository)
  printf 'docker://%s/%s' "$registry" "$repository"
}

AUTH=() PICK=()
log_in() {
  local site=$1 registry
  [ "$REGISTRY" = ecr ] || { AUTH=(--tls-verify=false); COPY_AUTH=(--src-tls-verify=false --dest-tls-verify=false); return; }
  AUTH=(--authfile "$WORK/auth.json")
  COPY_AUTH=("${AUTH[@]}")
  if dry; then return; fi
  registry=$(fact "$site" image_registry)
  aws_in "$site" ecr get-login-password |
    skopeo login "${AUTH[@]}" --username AWS --password-stdin "$registry" >/dev/null ||
    die "$site: cannot log in to the registry $registry"
}

# Takes a release's image instead of building one. From an index, it takes the image for the nodes' architecture.
choose_signed() {
  local architecture
  change cosign verify --output text --certificate-oidc-issuer https://token.actions.githubusercontent.com \
    --certificate-identity "$IMAGE_SIGNER" "$IMAGE" >/dev/null || die "$IMAGE has no valid signature by $IMAGE_SIGNER"
  PICK=(--override-os linux --override-arch amd64)
  SOURCE=docker://$IMAGE
  if ! dry; then
    architecture=$(skopeo "${PICK[@]}" inspect --format '{{.Architecture}}' "$SOURCE") || die "$IMAGE cannot be read"
    [ "$architecture" = amd64 ] || die "IMAGE is built for $architecture, but the nodes are amd64: give the digest of the index, or of the amd64 image"
  fi
  TAG="$VERSION-signed-${IMAGE: -64:12}"
  COPY_AUTH=("${COPY_AUTH[@]/#--authfile/--dest-authfile}")
  step "$IMAGE is signed by $IMAGE_SIGNER: not building an image"
}

# The digest of the image that a region has under the tag; fails if it has none.
held() {
  local place
  place=$(place "$1")
  if dry; then return 1; fi
  skopeo inspect "${AUTH[@]}" --format '{{.Digest}}' "$place:$TAG" 2>"$WORK/said"
}

# Where the image is copied from: a region that has it, otherwise a build.
find_source() {
  local site place
  for site in $SITES; do
    if held "$site" >"$WORK/digest"; then
      place=$(place "$site")
      SOURCE="$place@$(cat "$WORK/digest")"
      step "$site already has $TAG: not building it again"
      return
    fi
  done
  [ "$(uname -m)" = x86_64 ] ||
    die "the nodes are amd64, but this machine is $(uname -m): run make phase-3 on an amd64 machine, or set IMAGE to a release's image (docs/RELEASES.md)"
  step "building $TAG"
  change scripts/image.sh "$REVISION"
  # Compressed once, so that both regions get the same bytes and so the same digest.
  change rm -rf target/image/layers
  change skopeo copy --quiet --dest-compress "docker-archive:target/image/$PROJECT.tar" dir:target/image/layers
  SOURCE=dir:target/image/layers
}

push() {
  local site=$1 place digest
  place=$(place "$site")
  if ! digest=$(held "$site"); then
    change skopeo "${PICK[@]}" copy --quiet --preserve-digests "${COPY_AUTH[@]}" --digestfile "$WORK/digest" "$SOURCE" "$place:$TAG"
    if dry; then digest=sha256:DIGEST; else digest=$(cat "$WORK/digest"); fi
  fi
  [[ $digest == sha256:* ]] || die "$site: the registry returned no digest for $TAG"
  step "$site: ${place#docker://}@$digest"
  change sed -i.bak "s/^  digest: .*/  digest: \"$digest\"/" "argocd/releases/$site.yaml"
  change rm -f "argocd/releases/$site.yaml.bak"
}

# Commits the releases if they differ, and pushes if the remote branch does not have this commit yet.
release() {
  local url branch there files=() site
  url=$(fact "${SITES%% *}" git_repository)
  for site in $SITES; do files+=("argocd/releases/$site.yaml"); done
  if dry || ! git diff --quiet HEAD -- "${files[@]}"; then
    change git commit --quiet --only -m "Release $TAG: ${SITES// / and }" -- "${files[@]}"
  fi
  there=$(dry || git ls-remote "$url" "refs/heads/$RELEASE_BRANCH" | cut -f 1)
  if [ "$there" = "$(git rev-parse HEAD)" ]; then
    step "$RELEASE_BRANCH of $url already has this release"
    return
  fi
  change git push --quiet "$url" "HEAD:refs/heads/$RELEASE_BRANCH" ||
    die "cannot push to $RELEASE_BRANCH of $url: if somebody else pushed first, run git pull --rebase, then make phase-3"
  step "pushed to $RELEASE_BRANCH of $url, which Argo CD deploys from"
}

branch=$(git branch --show-current)
[ "$branch" = "$RELEASE_BRANCH" ] || dry ||
  die "the current branch is ${branch:-(none)}, but releases go to $RELEASE_BRANCH: switch to $RELEASE_BRANCH, or set RELEASE_BRANCH"
what_to_build
check_image
load_all_outputs
for site in $SITES; do log_in "$site"; done
if [ -n "$IMAGE" ]; then choose_signed; else find_source; fi
for site in $SITES; do push "$site"; done
release
