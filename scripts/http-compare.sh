#!/usr/bin/env bash
# `make http-compare`: sends every raw request of the tests to this service, nginx and hyper, side by side. The table is
# printed and written into docs/HTTP-CONFORMANCE.md.
source "$(dirname "$0")/lib.sh"

need_rust
need nginx nginx-light
folder=$(mktemp -d)
started=()
stop() {
  for process in "${started[@]}"; do
    kill -TERM "$process" 2>/dev/null || true
    wait "$process" 2>/dev/null || true
  done
  rm -rf "$folder"
}
trap stop EXIT

say "building"
cargo build --locked --quiet
(cd tests/peers/http-compare && CARGO_TARGET_DIR="$ROOT/target/peers" cargo build --locked --quiet)

nginx_port=$(free_port)
# nginx's defaults, except for settings that name files; one worker, and no origin server behind it. Every path of the
# table's requests exists, `/behind-the-case` does not.
cat >"$folder/nginx.conf" <<CONF
daemon off;
worker_processes 1;
pid $folder/nginx.pid;
error_log /dev/null crit;
events {}
http {
  access_log off;
  client_body_temp_path $folder/body;
  proxy_temp_path $folder/proxy;
  fastcgi_temp_path $folder/fastcgi;
  uwsgi_temp_path $folder/uwsgi;
  scgi_temp_path $folder/scgi;
  server {
    listen 127.0.0.1:$nginx_port;
    location / { return 200 ""; }
    location /behind-the-case { return 404 ""; }
  }
}
CONF
nginx -p "$folder" -e /dev/null -c "$folder/nginx.conf" &
started+=($!)

# No database answers here: the table's requests are refused or answered before one is needed.
port=$(free_port)
env -i DATABASE_URL=postgresql://nobody@127.0.0.1:1/none API_SECRET_KEY=0123456789abcdef \
  LISTEN_ADDRESS=127.0.0.1 PORT="$port" DRAIN_MS=0 target/debug/payment-latency-api >"$folder/service.log" &
started+=($!)
for wanted in "$port" "$nginx_port"; do
  deadline=$((SECONDS + 30))
  while port_is_free "$wanted"; do
    [ "$SECONDS" -lt "$deadline" ] || die "nothing is listening on port $wanted after 30 s: $(cat "$folder/service.log")"
    sleep 0.1
  done
done

say "comparing"
code=0
target/peers/debug/http-compare "this service=127.0.0.1:$port" "nginx=127.0.0.1:$nginx_port" >"$folder/table" || code=$?
cat "$folder/table"
[ "$code" = 0 ] || die "tests/peers/http-compare failed: it says above what tests/peers/http-compare/src/reasons.rs does not explain"
{
  printf 'Compared with %s and hyper %s.\n\n' "$(nginx -v 2>&1 | sed 's/.*: nginx\//nginx /')" \
    "$(sed -n '/^name = "hyper"$/{n;s/version = "\(.*\)"/\1/p}' tests/peers/http-compare/Cargo.lock)"
  cat "$folder/table"
} >"$folder/section"
sed -i -e "/<!-- compare:begin -->/r $folder/section" -e '/<!-- compare:begin -->/,/<!-- compare:end -->/{//!d}' \
  docs/HTTP-CONFORMANCE.md
