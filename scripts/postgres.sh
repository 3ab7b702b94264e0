#!/usr/bin/env bash
# The private PostgreSQL of `make run`: install | start | stop | status | remove | bindir | folder | sql TEXT.
source "$(dirname "$0")/lib.sh"

secrets="$PAYMENTS_DEV/secrets"
database=payments
owner=payments_owner
login=payments_api

bindir() {
  if [ -n "${PG_BINDIR:-}" ]; then
    echo "$PG_BINDIR"
    return
  fi
  # A version's folder may contain only the client.
  local newest
  newest=$(find /usr/lib/postgresql -path '*/bin/initdb' 2>/dev/null | sort -V | tail -n 1)
  [ -n "$newest" ] && dirname "$newest"
}

install_server() {
  bindir >/dev/null && return
  # The package would start its own server on port 5432, which nobody here wants.
  local wish=/etc/postgresql-common/createcluster.d/payment-latency-api.conf
  (
    trap 'as_root rm -f "$wish"' EXIT
    as_root mkdir -p "${wish%/*}"
    echo 'create_main_cluster = false' | as_root tee "$wish" >/dev/null
    apt_install postgresql
  )
  bindir >/dev/null || die "PostgreSQL was installed, but /usr/lib/postgresql/*/bin/initdb was not found"
}

# PostgreSQL refuses to run as root; root runs it as the system's user postgres.
as_server() {
  if [ "$(id -u)" = 0 ]; then
    (cd / && setpriv --reuid=postgres --regid=postgres --init-groups "$@")
  else
    "$@"
  fi
}

# Where the server keeps its files: below .dev, unless its user cannot get there, or a socket's name would be longer
# than the system allows.
inside="$PAYMENTS_DEV/postgres"
outside="/var/tmp/payment-latency-api-$(printf %s "$PAYMENTS_DEV" | sha256sum | cut -c1-12)"

use_folder() {
  folder=$1 data="$1/data"
  mkdir -p "$folder"
  [ "$(id -u)" != 0 ] || chown postgres:postgres "$folder"
}

choose_folder() {
  claim_dev
  use_folder "$inside"
  if [ ${#folder} -gt 80 ] || ! as_server test -x "$folder"; then
    use_folder "$outside"
  fi
}

running() {
  bindir >/dev/null || return 1
  choose_folder
  as_server "$(bindir)/pg_ctl" -D "$data" status >/dev/null 2>&1
}

random_hex() { openssl rand -hex "$1"; }

# A CA of its own, and a certificate for localhost from it.
make_certificates() {
  local work="$folder/tls"
  mkdir -p "$work"
  openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 825 \
    -subj '/CN=payment-latency-api development authority' \
    -addext 'keyUsage=critical,keyCertSign,cRLSign' \
    -keyout "$work/ca.key" -out "$work/ca.crt" 2>/dev/null
  openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj '/CN=localhost' \
    -keyout "$work/server.key" -out "$work/server.csr" 2>/dev/null
  printf 'subjectAltName=DNS:localhost,IP:127.0.0.1,IP:::1\nextendedKeyUsage=serverAuth\n' >"$work/server.ext"
  openssl x509 -req -in "$work/server.csr" -CA "$work/ca.crt" -CAkey "$work/ca.key" \
    -CAcreateserial -days 825 -extfile "$work/server.ext" -out "$work/server.crt" 2>/dev/null
  rm -f "$work/ca.key" "$work/server.csr" "$work/server.ext" "$work"/*.srl
  chmod 600 "$work/server.key"
}

psql_admin() {
  as_server "$(bindir)/psql" -X -q -v ON_ERROR_STOP=1 -h "$folder" -p "$(cat "$PAYMENTS_DEV/port")" -U postgres "$@"
}

create() {
  say "creating a private PostgreSQL cluster with TLS in $folder"
  [ "$folder" = "$inside" ] || say "(not in $inside: the server's user cannot reach it, or its path is too long for a socket)"
  rm -rf "$data" "$data.new"
  make_certificates
  if [ "$(id -u)" = 0 ]; then
    chown -R postgres:postgres "$folder"
  fi
  as_server "$(bindir)/initdb" -D "$data.new" -U postgres -A trust --encoding=UTF8 --locale=C >/dev/null
  as_server tee -a "$data.new/postgresql.conf" >/dev/null <<'CONF'
ssl = on
ssl_cert_file = '../tls/server.crt'
ssl_key_file = '../tls/server.key'
listen_addresses = '127.0.0.1, ::1'
# The administrator's way in: the server's own user, who alone may open the socket.
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
# As in the regions (terraform/modules/rds).
lock_timeout = '750ms'
client_connection_check_interval = '1s'
CONF
  as_server tee "$data.new/pg_hba.conf" >/dev/null <<'CONF'
local   all all trust
hostssl all all 127.0.0.1/32 scram-sha-256
hostssl all all ::1/128      scram-sha-256
CONF
  # All or nothing: a creation that was cut off starts over.
  as_server mv "$data.new" "$data"
}

write_secrets() {
  local port=$1 options place=${secrets//%/%25}
  place=${place// /%20}
  options="sslmode=verify-full&sslrootcert=${place//&/%26}/ca.crt"
  mkdir -p "$secrets"
  chmod 700 "$secrets"
  (
    umask 077
    [ -s "$secrets/owner_password" ] || random_hex 24 >"$secrets/owner_password"
    [ -s "$secrets/login_password" ] || random_hex 24 >"$secrets/login_password"
    [ -s "$secrets/api_key" ] || random_hex 24 >"$secrets/api_key"
    cp "$folder/tls/ca.crt" "$secrets/ca.crt"
    echo "postgresql://$owner:$(cat "$secrets/owner_password")@localhost:$port/$database?$options" \
      >"$secrets/migrate_database_url"
    echo "postgresql://$login:$(cat "$secrets/login_password")@localhost:$port/$database?$options" \
      >"$secrets/database_url"
  )
}

# Makes the owner, its database, and the passwords that the secrets name, whatever was there before.
provision() {
  psql_admin -d postgres <<SQL
SELECT 'CREATE ROLE $owner' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '$owner') \gexec
ALTER ROLE $owner LOGIN CREATEROLE PASSWORD '$(cat "$secrets/owner_password")';
SELECT 'CREATE DATABASE $database OWNER $owner'
  WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = '$database') \gexec
SELECT 'ALTER ROLE $login PASSWORD ''$(cat "$secrets/login_password")'''
  FROM pg_roles WHERE rolname = '$login' \gexec
SQL
}

start() {
  install_server
  need openssl openssl
  choose_folder
  if running; then
    say "PostgreSQL is already running on port $(cat "$PAYMENTS_DEV/port")"
    return
  fi
  if [ ! -s "$data/PG_VERSION" ]; then
    rm -rf "$secrets"
    create
  elif [ "$(cat "$data/PG_VERSION")" != "$("$(bindir)/initdb" --version | sed 's/.* \([0-9]*\)[. ].*/\1/')" ]; then
    die "$data was created by PostgreSQL $(cat "$data/PG_VERSION"), which is not the installed version: 'make clean' removes it"
  fi
  if [ ! -s "$PAYMENTS_DEV/port" ] || ! port_is_free "$(cat "$PAYMENTS_DEV/port")"; then
    free_port >"$PAYMENTS_DEV/port"
  fi
  local port
  port=$(cat "$PAYMENTS_DEV/port")
  say "starting PostgreSQL on 127.0.0.1:$port"
  # -l is opened by the server's user, who owns the folder.
  as_server "$(bindir)/pg_ctl" -D "$data" -l "$folder/log" \
    -o "-p $port -k '${folder//\'/\'\\\'\'}'" -w -t 60 start >/dev/null ||
    { tail -n 20 "$folder/log" >&2; die "PostgreSQL did not start: the end of its log is above"; }
  write_secrets "$port"
  provision
}

stop() {
  if running; then
    say "stopping PostgreSQL"
    as_server "$(bindir)/pg_ctl" -D "$data" -m fast -w stop >/dev/null
  fi
}

case "${1:-}" in
  install) install_server ;;
  start) start ;;
  stop) stop ;;
  status) if running; then echo "running on port $(cat "$PAYMENTS_DEV/port")"; else echo stopped; fi ;;
  remove)
    claim_dev
    exec 9>"$PAYMENTS_DEV/lock"
    flock -n 9 || die "'make run' is running in $PAYMENTS_DEV: stop it with Ctrl-C first"
    stop
    rm -rf "$inside" "$outside"
    ;;
  bindir) bindir ;;
  folder)
    choose_folder
    echo "$folder"
    ;;
  sql)
    choose_folder
    psql_admin -At -d "$database" -c "$2"
    ;;
  *) die "usage: $0 install|start|stop|status|remove|bindir|folder|sql" ;;
esac
