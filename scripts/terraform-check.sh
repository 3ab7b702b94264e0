#!/usr/bin/env bash
# `make terraform-check`: format, init, validate and test of every module and environment, tflint, checkov.
# terraform-check.sh FOLDER...: only init, validate and test of these folders.
source "$(dirname "$0")/lib.sh"

TFLINT_VERSION=0.64.0
TFLINT_AWS_VERSION=0.48.0
CHECKOV_VERSION=3.3.30
unchecked=()

offline=$(offline_terraform)
export offline
# If the setting names a file that does not exist, Terraform would only warn.
[ -e "${TF_CLI_CONFIG_FILE:-/}" ] || unset TF_CLI_CONFIG_FILE

PATH="$CACHE/tools/bin:$PATH"

# check_folder FOLDER: runs init, validate and test in one folder, and prints one line about it.
check_folder() {
  local folder=$1 log copy
  log=$(mktemp)
  if ! ls terraform/"$folder"/tests/*.tftest.hcl >/dev/null 2>&1; then
    echo "$folder: has no tests" >"$log"
  elif [ -n "$offline" ]; then
    "$offline" check terraform "$folder" >"$log" 2>&1 && { tail -n 1 "$log"; rm -f "$log"; return; }
  else
    copy=$(mktemp -d)
    cp -RL terraform/. "$copy"
    if (
      cd "$copy/$folder" || exit 1
      terraform init -backend=false -input=false -no-color && terraform validate -no-color && terraform test -no-color
    ) >"$log" 2>&1; then
      echo "$folder: $(tail -n 1 "$log")"
      rm -rf "$copy" "$log"
      return
    fi
    rm -rf "$copy"
  fi
  cat "$log" >&2
  rm -f "$log"
  return 1
}
export -f check_folder

have terraform || die "terraform is missing: install 1.11 or later, the first version with write-only arguments"
need python3 python3
if [ $# -gt 0 ]; then
  for folder in "$@"; do check_folder "$folder"; done
  exit
fi
say "$(terraform version | head -n 1)"

say "format"
terraform fmt -recursive -check -diff terraform

say "house rules"
# No module may contain anything that would let data leave a region.
if grep -rnE --include='*.tf' 'resource "aws_(vpc_peering|ec2_transit_gateway|kms_replica|s3_bucket_replication|ecr_replication|db_instance_automated_backups_replication|rds_global|dynamodb_global)' terraform ||
  grep -rnE --include='*.tf' '^\s*(replica|replication_configuration|replicate_source_db|create_replica)\b' terraform; then
  die "the lines above would let data leave its region"
fi
# What remains after a tear-down must not depend on anything that is destroyed, or it would be destroyed, too.
if sed -n '/^module "audit"/,/^}/p' terraform/environments/shared/main.tf | grep '=' |
  grep -vE '= +("../../modules/audit"|var\.[a-z_]+|local\.(name|state_bucket))$'; then
  die "the audit trail depends on a module that a tear-down destroys (above), and would be destroyed with it"
fi
# No test sees what a public module makes of its inputs. So tests read the locals that this project's modules publish,
# and this check makes sure that each of them is passed on unchanged and that no key bypasses them.
python3 - <<'PY' || die "what the tests check is not what Terraform would create: see above"
import pathlib, re, sys

loose = []


def find(pattern, text):
    return re.findall(pattern, text, re.MULTILINE | re.DOTALL)


for folder in sorted(pathlib.Path("terraform/modules").iterdir()):
    text = "\n".join(path.read_text() for path in sorted(folder.glob("*.tf")) if path.name != "outputs.tf")
    public = [block for block in find(r'^module "\w+" \{\n.*?^\}$', text) if '"terraform-aws-modules/' in block]

    def given(what, to=text):
        return find(rf"= (?:\{{ \w+ = |jsonencode\()?{what}(?: \}}|\))?$| in {what} :", to)

    for name in dict.fromkeys(find(r"\blocal\.(\w+)", (folder / "outputs.tf").read_text())):
        each = [block for block in public if find(rf"^  for_each += local\.{name}$", block)]
        if not each and given(rf"local\.{name}"):
            continue
        # With for_each, the keys are those of one element.
        indent = 6 if each else 4
        body = "".join(find(rf"^  {name} = \{{\n(.*?)^  \}}$", text))
        keys = find(rf"^ {{{indent}}}(\w+) += (?!module\.)", body)
        if not keys:
            loose.append(f"{folder}: local.{name} is not passed to any module or resource")
        for key in dict.fromkeys(keys):
            if not (given(rf"each\.value\.{key}", each[0]) if each else given(rf"local\.{name}\.{key}")):
                loose.append(f"{folder}: local.{name}.{key} is not passed to any module or resource")
    for block in public:
        for argument in find(r"^ +(\w+) += [^\n]*\b(?:var\.\w*key_arn|aws_security_group|aws_iam_policy)", block):
            loose.append(f"{folder}: {argument} is set directly, not through a local that tests read")
if loose:
    sys.exit("\n".join(loose))
PY
# Phase 0 reads the values of these two in the modules, and asks AWS whether it has them.
! grep -qE '^ +(system_nodes|engine_version) +=' terraform/environments/shared/main.tf || die "terraform/environments/shared/main.tf must not set system_nodes or engine_version: phase 0 checks the modules' own values"
# Settings that no test can see.
grep -q '^ *use_lockfile *= true$' terraform/environments/shared/versions.tf || die "terraform/environments/shared/versions.tf must set use_lockfile = true: two applies at once could damage the state"
grep -q '^ *allowed_account_ids *= \[var.account_id\]$' terraform/environments/shared/versions.tf || die "terraform/environments/shared/versions.tf must set allowed_account_ids = [var.account_id]: another account could be changed"
grep -q '^ *tags *= local.default_tags$' terraform/environments/shared/versions.tf || die "terraform/environments/shared/versions.tf must set tags = local.default_tags: what Terraform creates would have no tags"
grep -q '^ *depends_on = \[module.secrets, module.rds, aws_vpc_security_group_egress_rule.rotation\]$' terraform/environments/shared/main.tf ||
  die "the rotation module's depends_on must name secrets, rds and the egress rule: the first rotation could run before there is a value, or a way to the database"
grep -q '^ *depends_on = \[aws_secretsmanager_secret_version.login\]$' terraform/modules/secrets/outputs.tf ||
  die "an output of terraform/modules/secrets must depend on aws_secretsmanager_secret_version.login: the proxy could be created before its logins have a value"
# Both regions use the same code: apart from data and tests, an environment's folder has no files of its own.
for environment in spain mexico; do
  own=$(find "terraform/environments/$environment" -maxdepth 1 -name '*.tf' ! -type l)
  [ -z "$own" ] || die "$own belongs to one region only: move it to terraform/environments/shared"
done
# Where a registry can be reached, each folder has its own lock file: both regions must use the same providers.
locks=$(find terraform/environments -maxdepth 2 -name .terraform.lock.hcl)
[ -z "$locks" ] || [ "$(xargs sha256sum <<<"$locks" | cut -d' ' -f1 | sort -u | wc -l)" = 1 ] || die "the two regions' lock files differ"

if [ -n "$offline" ]; then
  say "init, validate, test (providers' schemas and modules' interfaces from $(basename "$offline"), on loopback)"
else
  say "init, validate, test (providers and modules from the registry)"
fi
folders=()
for file in terraform/modules/*/main.tf; do
  file=${file#terraform/}
  folders+=("${file%/main.tf}")
done
# The slow ones first.
folders=(environments/spain environments/mexico "${folders[@]}")
results=$(mktemp)
if ! printf '%s\n' "${folders[@]}" | xargs -P "$(nproc)" -I{} bash -c 'check_folder {}' | tee "$results"; then
  die "a folder failed: see above"
fi
passed=$(($(sed -n 's/.* \([0-9]*\) passed, 0 failed.*/\1/p' "$results" | paste -sd+)))
[ "$(wc -l <"$results")" = "${#folders[@]}" ] || die "some folders were not checked"
rm -f "$results"

say "tflint"
if go_tool tflint github.com/terraform-linters/tflint "$TFLINT_VERSION"; then
  rules=()
  if go_tool tflint-ruleset-aws github.com/terraform-linters/tflint-ruleset-aws "$TFLINT_AWS_VERSION"; then
    rules=(--enable-plugin=aws)
  else
    unchecked+=("tflint's AWS rules: tflint-ruleset-aws $TFLINT_AWS_VERSION could not be built from its Go module")
  fi
  TFLINT_PLUGIN_DIR="$CACHE/tools/bin" tflint --chdir=terraform --recursive --config="$ROOT/terraform/.tflint.hcl" "${rules[@]}"
else
  unchecked+=("tflint $TFLINT_VERSION: it could not be built from its Go module")
fi

say "checkov"
checkov="$CACHE/checkov"
if need_packages "$checkov" "checkov==$CHECKOV_VERSION"; then
  "$VENV/bin/checkov" --config-file terraform/.checkov.yaml
else
  unchecked+=("checkov $CHECKOV_VERSION: it could not be installed from PyPI")
fi

say "every check that could run has passed"
for what in "${unchecked[@]}"; do
  printf 'NOT CHECKED: %s\n' "$what"
done
echo "$passed passed, 0 failed"
