#!/usr/bin/env bash
# Checks what runs on GitHub: actionlint, zizmor, the schema of Renovate's settings, and what these cannot know.
source "$(dirname "$0")/lib.sh"

ACTIONLINT_VERSION=1.7.12
ZIZMOR_VERSION=1.32.0
CHECK_JSONSCHEMA_VERSION=0.39.0
PYYAML_VERSION=6.0.3

need shellcheck shellcheck
PATH="$CACHE/tools/bin:$PATH"
unchecked=
go_tool actionlint github.com/rhysd/actionlint/cmd/actionlint "$ACTIONLINT_VERSION" ||
  unchecked="workflows, by actionlint $ACTIONLINT_VERSION: it could not be built from its Go module"
need_packages "$CACHE/workflows" "zizmor==$ZIZMOR_VERSION" "check-jsonschema==$CHECK_JSONSCHEMA_VERSION" "pyyaml==$PYYAML_VERSION"

[ -n "$unchecked" ] || actionlint .github/workflows/*.yaml
"$VENV/bin/zizmor" --offline --quiet --persona=auditor .github
"$VENV/bin/check-jsonschema" --quiet --builtin-schema vendor.renovate .github/renovate.json
(cd scripts && "$VENV/bin/python" -B -m unittest --quiet workflows_test)
"$VENV/bin/python" -B scripts/workflows.py
[ -z "$unchecked" ] || echo "NOT CHECKED: $unchecked"
