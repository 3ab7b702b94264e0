#!/usr/bin/env bash
# Packages the rotation function for Lambda: its code, its driver, and the certificate authorities of RDS and its proxy.
# scripts/rotation-package.sh FILE.zip
source "$(dirname "$0")/lib.sh"

# The driver and what it needs, in pure Python, so that they run on any processor. They take precedence over Lambda's
# own packages, whose AWS client needs a dateutil below 3.
PG8000_VERSION=1.31.6
PACKAGES=("pg8000==$PG8000_VERSION" scramp==1.5.0 asn1crypto==1.5.1 python-dateutil==2.9.0.post0 six==1.17.0)
if [[ $# != 1 || $1 != *.zip ]]; then
  die "usage: scripts/rotation-package.sh FILE.zip"
fi
out=$(realpath -m "$1")

venv="$CACHE/rotation-package"
[ -x "$venv/bin/pip" ] || need_venv "$venv"
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
"$venv/bin/pip" install "${PACKAGES[@]}" --no-deps --only-binary :all: --target "$work" \
  --no-compile --quiet --disable-pip-version-check
rm -rf "${work:?}/bin"
cp terraform/modules/rotation/function/rotate.py "$work/"
cat src/pg/tls/anchors/*.pem >"$work/roots.pem"

# Every file gets the same time: the same content gives the same package, and Terraform sees no change.
mkdir -p "$(dirname "$out")"
"$venv/bin/python" - "$work" "$out" <<'PY'
import pathlib, sys, zipfile

work, out = map(pathlib.Path, sys.argv[1:])
with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as package:
    for file in sorted(path for path in work.rglob("*") if path.is_file()):
        entry = zipfile.ZipInfo(str(file.relative_to(work)), (1980, 1, 1, 0, 0, 0))
        entry.external_attr = 0o644 << 16
        package.writestr(entry, file.read_bytes(), zipfile.ZIP_DEFLATED)
PY
say "$out: $(stat -c %s "$out") bytes"
