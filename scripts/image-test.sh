#!/usr/bin/env bash
# Unpacks the image and serves a payment from it, as its user and with nothing else in its file system.
source "$(dirname "$0")/lib.sh"

archive="$ROOT/target/image/payment-latency-api.tar"
[ -f "$archive" ] || die "target/image/payment-latency-api.tar was not found: run make image first"
need python3 python3
need curl curl
need jq jq
need pgrep procps

scratch=$(mktemp -d)
service=
# The private PostgreSQL may be in use by `make run`.
was=$(scripts/postgres.sh status)
clean() {
  if [ -n "$service" ]; then "${sudo[@]}" kill "$service" 2>/dev/null || true; fi
  [ "$was" != stopped ] || scripts/postgres.sh stop
  as_root rm -rf "$scratch"
}
trap clean EXIT

say "unpacking the image"
mkdir -p "$scratch/image" "$scratch/rootfs"
tar -xf "$archive" -C "$scratch/image"
python3 - "$scratch/image" <<'PY' >"$scratch/layers"
import json, sys
folder = sys.argv[1]
manifest = json.load(open(f"{folder}/manifest.json"))[0]
config = json.load(open(f"{folder}/{manifest['Config']}"))["config"]
expected = {
    "User": "65534:65534",
    "Entrypoint": ["/payment-latency-api"],
    "ExposedPorts": {"8080/tcp": {}},
}
for name, value in expected.items():
    assert config.get(name) == value, f"the image's {name} is {config.get(name)}, not {value}"
test = config["Healthcheck"]["Test"]
assert test == ["CMD", "/payment-latency-api", "probe", "/livez"], test
for label in ("title", "description", "licenses", "version", "revision", "created"):
    assert config["Labels"].get(f"org.opencontainers.image.{label}"), f"the image has no label {label}"
print(*manifest["Layers"], sep="\n")
PY
while read -r layer; do
  tar -xf "$scratch/image/$layer" -C "$scratch/rootfs"
done <"$scratch/layers"
found=$(cd "$scratch/rootfs" && find . -type f)
[ "$found" = ./payment-latency-api ] || die "the image must contain only the binary, but contains: $found"

scripts/sbom.sh
missing=$(comm -13 <(python3 -B scripts/image_facts.py crates | sort) \
  <(jq -r '.components[] | select(.scope == "required") | "\(.name) \(.version)"' target/sbom.cdx.json | sort))
[ -z "$missing" ] || die "missing from the list of crates in the binary: $missing"

scripts/postgres.sh start
export MIGRATE_DATABASE_URL_FILE="$PAYMENTS_DEV/secrets/migrate_database_url"
DATABASE_URL_FILE="$PAYMENTS_DEV/secrets/database_url" "$scratch/rootfs/payment-latency-api" migrate

# A folder of secrets, as Kubernetes would mount it. The URL has an IP address, since no file in the image says what
# localhost is.
mkdir "$scratch/rootfs/secrets"
sed -e "s|sslrootcert=.*/ca.crt|sslrootcert=/secrets/ca.crt|; s|@localhost:|@127.0.0.1:|" \
  "$PAYMENTS_DEV/secrets/database_url" >"$scratch/rootfs/secrets/database_url"
cp "$PAYMENTS_DEV/secrets/api_key" "$PAYMENTS_DEV/secrets/ca.crt" "$scratch/rootfs/secrets/"
as_root chown -R 65534:65534 "$scratch/rootfs/secrets"
chmod 755 "$scratch" "$scratch/rootfs"

say "serving from the image's root as user 65534"
port=$(free_port)
sudo=()
[ "$(id -u)" = 0 ] || sudo=(sudo)
chroot=("${sudo[@]}" env -i DATABASE_URL_FILE=/secrets/database_url API_SECRET_KEY_FILE=/secrets/api_key \
  PORT="$port" LISTEN_ADDRESS=127.0.0.1 DRAIN_MS=0 REGION=local ENVIRONMENT=test
  "$(PATH=$PATH:/usr/sbin command -v chroot)" --userspec=65534:65534 "$scratch/rootfs" /payment-latency-api)
"${chroot[@]}" serve &
service=$!
for _ in $(seq 100); do
  if "${chroot[@]}" probe /readyz >/dev/null 2>&1; then break; fi
  kill -0 "$service" 2>/dev/null || die "the service ended: its log is above"
  sleep 0.1
done
"${chroot[@]}" probe /livez
curl --fail --silent --show-error -H "X-API-Key: $(cat "$PAYMENTS_DEV/secrets/api_key")" \
  "http://127.0.0.1:$port/api/payment/simulate?amount=12.34"
echo
# Under sudo, the service is a child of sudo's process.
user=$(ps -o uid= -p "$(pgrep -P "$service" || echo "$service")" | tr -d ' ')
[ "$user" = 65534 ] || die "the service runs as user $user instead of 65534"
"${sudo[@]}" kill -TERM "$service"
wait "$service"
service=
say "the image serves payments"
