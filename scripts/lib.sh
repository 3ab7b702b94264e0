# shellcheck shell=bash
# Helpers of the other scripts; sourced, never run.
set -euo pipefail

# With CDPATH set, cd prints, and may go elsewhere.
unset CDPATH
ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$ROOT"
# A git hook sets variables that name its repository and index. Tests create other repositories, and would write into
# the hook's. GIT_CONFIG_* may hold the caller's identity, and is kept.
# shellcheck disable=SC2046
unset $(git rev-parse --local-env-vars 2>/dev/null | grep -v '^GIT_CONFIG' || true)
# The scripts run and package what cargo builds in `target`.
unset CARGO_TARGET_DIR CARGO_BUILD_TARGET_DIR CARGO_BUILD_TARGET

# What `make run` keeps between runs (claim_dev), and what `make test` installs for itself.
export PAYMENTS_DEV="${PAYMENTS_DEV:-$ROOT/.dev}" TOOLS="$ROOT/.tools"
# Downloads and builds that outlive a checkout.
export CACHE="${XDG_CACHE_HOME:-$HOME/.cache}/payment-latency-api"

# The form of a version: 1.2.3, or 1.2.3-rc.1 for a release candidate.
export VERSION_FORM='^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-rc\.[1-9][0-9]*)?$'

say() { printf '==> %s\n' "$*"; }

die() {
  printf 'error: %s\n' "$*" >&2
  exit 1
}

# Creates $PAYMENTS_DEV. Refuses a folder that contains something else, since its content is replaced and removed.
claim_dev() {
  local mark="$PAYMENTS_DEV/.payment-latency-api"
  mkdir -p "$PAYMENTS_DEV"
  if [ "$PAYMENTS_DEV" != "$ROOT/.dev" ] && [ ! -e "$mark" ] && [ -n "$(ls -A "$PAYMENTS_DEV")" ]; then
    die "PAYMENTS_DEV=$PAYMENTS_DEV contains other files: name a new or empty folder"
  fi
  : >"$mark"
}

have() { command -v "$1" >/dev/null 2>&1; }

as_root() {
  if [ "$(id -u)" = 0 ]; then
    "$@"
  elif have sudo; then
    sudo "$@"
  else
    die "'$*' needs root: run it as root, or install sudo"
  fi
}

# Installs Debian packages without asking.
apt_install() {
  have apt-get || die "install $* first: this script can install packages only with apt-get, which was not found"
  # Checked first: as_root's message would go to the log.
  [ "$(id -u)" = 0 ] || have sudo || die "installing $* needs root: run this as root, or install sudo"
  say "installing $*"
  local log install
  log=$(mktemp)
  # A machine that has just booted may still be installing its updates.
  install=(env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends
    -o DPkg::Lock::Timeout=120 -o Dpkg::Options::=--force-confold "$@")
  # The package lists may be missing or out of date.
  if ! as_root "${install[@]}" >"$log" 2>&1 &&
    ! { as_root apt-get update && as_root "${install[@]}"; } >"$log" 2>&1; then
    cat "$log" >&2
    rm -f "$log"
    die "apt-get could not install $*"
  fi
  rm -f "$log"
}

# need COMMAND PACKAGE...: installs the packages if the command is not found.
need() {
  local command=$1
  shift
  have "$command" || apt_install "$@"
}

need_rust() {
  if ! have cargo && [ -x "$HOME/.cargo/bin/cargo" ]; then
    PATH="$HOME/.cargo/bin:$PATH"
  fi
  have cargo || die "cargo is missing: install Rust from https://rustup.rs (rust-toolchain.toml names the version)"
  need cc gcc libc6-dev
}

# The image's compiler flags, with neutral names for this machine's folders, which would otherwise be in panic messages.
image_flags() {
  sed -n "s/^ENV RUSTFLAGS='\(.*\)'/\1/p" Dockerfile | tr -d '\n'
  local registry
  for registry in "${CARGO_HOME:-$HOME/.cargo}"/registry/src/*; do
    printf ' --remap-path-prefix=%s=cargo' "$registry"
  done
}

# What the binary reports about itself: revision $1, and that commit's time.
stamp() {
  export GIT_REVISION=$1 BUILD_TIMESTAMP
  BUILD_TIMESTAMP=$(date -u -d "@$(git log -1 --format=%ct "$1" 2>/dev/null || date +%s)" +%Y-%m-%dT%H:%M:%SZ)
}

# Builds the image's binary for target $1, as the Dockerfile does: its bytes depend on what is built, not on where or
# when. The C compiler uses SOURCE_DATE_EPOCH as the time.
build_for_image() {
  cargo_auditable
  cargo fetch --locked --quiet
  RUSTFLAGS=$(image_flags) SOURCE_DATE_EPOCH=0 PATH="$CACHE/tools/bin:$PATH" \
    cargo auditable build --release --locked --quiet --target "$1"
}

# Prepares a measurement: the load generator, and a database on a memory file system (so that the programs make the
# difference, not the disk), migrated by the service's binary $1 and removed when the script ends.
stage_in_memory() {
  (cd benches/harness && CARGO_TARGET_DIR="$ROOT/target/harness" cargo build --release --locked --quiet)
  export SERVICE=$1 PAYMENTS_DEV=/dev/shm/payment-latency-api-measured
  exec 8>"$PAYMENTS_DEV.lock"
  flock -n 8 || die "another measurement is already running on this machine: wait until it has ended"
  # This script has the lock now, so it may clean up what a killed run left behind.
  scripts/postgres.sh remove >/dev/null 2>&1 8>&- || true
  rm -rf "$PAYMENTS_DEV"
  trap 'scripts/postgres.sh remove || true; rm -rf "$PAYMENTS_DEV"' EXIT
  scripts/postgres.sh start 8>&-
  MIGRATE_DATABASE_URL_FILE="$PAYMENTS_DEV/secrets/migrate_database_url" \
    DATABASE_URL_FILE="$PAYMENTS_DEV/secrets/database_url" "$SERVICE" migrate >/dev/null
}

# The tool that embeds the list of crates in the binary.
cargo_auditable() {
  local version
  version=$(sed -n 's/^ARG CARGO_AUDITABLE_VERSION=//p' Dockerfile)
  cargo_tool cargo-auditable "$version" || die "cargo-auditable $version could not be built"
}

# cargo_tool NAME VERSION: builds it into $CACHE/tools/bin unless this version is already there.
cargo_tool() {
  grep -qs "^\"$1 $2 " "$CACHE/tools/.crates.toml" && [ -x "$CACHE/tools/bin/$1" ] && return
  say "building $1 $2 (once per machine; takes some minutes)"
  cargo install --locked --quiet "$1@$2" --root "$CACHE/tools" --target-dir "$CACHE/$1" || return 1
  rm -rf "${CACHE:?}/$1"
}

# Creates a Python virtual environment in folder $1.
need_venv() {
  need python3 python3 python3-venv
  if ! python3 -m venv "$1" >/dev/null 2>&1; then
    apt_install python3-venv
    rm -rf "$1"
    python3 -m venv "$1"
  fi
}

# need_packages FOLDER PACKAGE...: sets VENV to a virtual environment with exactly these packages. Its name is FOLDER
# and a hash of the list, so that a caller with another list does not replace it. Only one caller at a time creates it.
need_packages() {
  VENV=$1-$(printf '%s\n' "${@:2}" | sha256sum | cut -c1-12)
  shift
  mkdir -p "$(dirname "$VENV")"
  (
    flock 9
    [ ! -e "$VENV/packages" ] || exit 0
    say "fetching $*"
    rm -rf "$VENV"
    if need_venv "$VENV" && "$VENV/bin/pip" install --quiet --disable-pip-version-check "$@"; then
      echo "$*" >"$VENV/packages"
    else
      rm -rf "$VENV"
      echo "could not be installed from PyPI: $*" >&2
      exit 1
    fi
  ) 9>"$VENV.lock"
}

# unpack PACKAGE PROGRAM: unpacks a Debian package into $TOOLS. Installing it would start a service.
unpack() {
  [ -x "$TOOLS/$1/usr/bin/$2" ] && return
  say "fetching $1"
  mkdir -p "$TOOLS/$1"
  (
    cd "$TOOLS/$1" || exit 1
    apt-get download "$1" >/dev/null 2>&1 ||
      { as_root apt-get update >/dev/null 2>&1 && apt-get download "$1" >/dev/null 2>&1; } || exit 1
    dpkg -x "$1"_*.deb . && rm -f "$1"_*.deb
  )
}

install_prometheus() { unpack prometheus promtool; }

# What serves the AWS provider's schema and the modules' interfaces on loopback, on a machine that cannot reach a
# registry; nothing elsewhere.
offline_terraform() {
  local tool=${TF_OFFLINE:-../shared/tools/tf-offline/tf-offline}
  [ ! -x "$tool" ] || realpath "$tool"
}

# go_tool COMMAND MODULE VERSION: builds the module into $CACHE/tools/bin unless this version of the command is there.
go_tool() {
  local command=$1 module=$2 version=$3 stamp="$CACHE/tools/$1.version"
  if have "$command" && { [ ! -e "$stamp" ] || [ "$(cat "$stamp")" = "$version" ]; }; then
    return
  fi
  need go golang-go
  say "building $command $version (once per machine; takes some minutes)"
  mkdir -p "$CACHE/tools/bin"
  GOBIN="$CACHE/tools/bin" go install "$module@v$version" >"$CACHE/tools/$command.log" 2>&1 || return 1
  echo "$version" >"$stamp"
}

port_is_free() { ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; }

free_port() {
  local port
  for port in $(shuf -i 20000-29999 -n 50); do
    if port_is_free "$port"; then
      echo "$port"
      return
    fi
  done
  die "found no free port between 20000 and 29999 (tried 50)"
}
