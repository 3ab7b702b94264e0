#!/usr/bin/env bash
# Phase 0: checks that everything the phases need is in place. It creates the buckets for Terraform's state, which
# Terraform cannot do itself, and asks for missing inputs of the operator if there is a terminal.
source "$(dirname "$0")/common.sh"
begin "phase 0" "tools, credentials, inputs, state buckets, zone, repository" "make phase-1" "$@"

# Tool, oldest version that works, command that prints its version, where it comes from.
TOOLS_NEEDED='
aws|1.29|aws --version|https://docs.aws.amazon.com/cli (version 2 is best)
kubectl|1.34|kubectl version --client|https://kubernetes.io/docs/tasks/tools
helm|3.14|helm version --short|https://helm.sh/docs/intro/install
terraform|1.11|terraform version|https://developer.hashicorp.com/terraform/install
git|2.30|git --version|https://git-scm.com
jq|1.6|jq --version|https://jqlang.org
skopeo|1.6|skopeo --version|https://github.com/containers/skopeo (Debian: apt-get install skopeo)
curl|7.84|curl --version|https://curl.se
openssl|1.1|openssl version|https://www.openssl.org
'

tools() {
  local tool oldest ask from found missing=()
  while IFS='|' read -r tool oldest ask from; do
    [ -n "$tool" ] || continue
    if ! have "$tool"; then
      missing+=("$tool is missing: install $oldest or later from $from")
      continue
    fi
    found=$($ask 2>/dev/null | grep -oE '[0-9]+(\.[0-9]+)+' | head -n 1) || true
    if [ "$(printf '%s\n' "$oldest" "${found:-0}" | sort -V | head -n 1)" != "$oldest" ]; then
      missing+=("$tool is ${found:-an unknown version}: install $oldest or later from $from")
    else
      step "$tool $found"
    fi
  done <<<"$TOOLS_NEEDED"
  [ ${#missing[@]} = 0 ] || die "$(printf '%s\n' "${missing[@]}")"
}

credentials() {
  # Asked in us-east-1, which every account has: a region that is not enabled accepts no credentials.
  CALLER=$(aws_in "$CONTROL" --region us-east-1 sts get-caller-identity --query '[Account,Arn]' --output text 2>"$WORK/said") ||
    die "there are no AWS credentials, or AWS rejects them (run aws configure, or set AWS_PROFILE): $(tail -n 1 "$WORK/said")"
  step "AWS account ${CALLER%%[[:space:]]*} as ${CALLER##*[[:space:]]}"
}

# The inputs are those of terraform/operator.tfvars.example; the descriptions of Terraform's variables explain them.
inputs() {
  local name value missing=()
  while read -r name _ value; do
    if ! grep -q "^$name *=" "$OPERATOR_FILE" 2>/dev/null; then
      if [ -t 3 ]; then ask_input "$name" "$value"; else missing+=("$name"); fi
    fi
  done 3<&0 < <(grep '=' terraform/operator.tfvars.example)
  [ ${#missing[@]} = 0 ] ||
    die "$OPERATOR_FILE does not set ${missing[*]}: add them as in terraform/operator.tfvars.example, or run make phase-0 in a terminal, where it asks for them"
  # If outputs stand in for Terraform, its rules are not checked.
  if [ -z "$TERRAFORM_OUTPUTS" ]; then rules; fi
  step "the operator's inputs: $OPERATOR_FILE"
  [ "$(operator account_id)" = "${CALLER%%[[:space:]]*}" ] ||
    die "the credentials are for account ${CALLER%%[[:space:]]*}, but account_id in $OPERATOR_FILE is $(operator account_id): use other credentials, or correct account_id"
}

# Checks the inputs by the rules of Terraform's own variables, before anything is created: a configuration that has only
# variables needs no provider and no state.
rules() {
  local wrong
  mkdir "$WORK/rules"
  cp terraform/environments/shared/variables.tf "$WORK/rules"
  printf 'locals {\n  control_site = "%s"\n}\n' "$CONTROL" >"$WORK/rules/site.tf"
  terraform -chdir="$WORK/rules" init -input=false >"$WORK/said" 2>&1 &&
    terraform -chdir="$WORK/rules" plan -input=false -lock=false -json -var=rotation_package=none.zip \
      -var-file="$ROOT/terraform/environments/$CONTROL/terraform.tfvars" -var-file="$(realpath "$OPERATOR_FILE")" \
      >"$WORK/said" 2>&1 && return
  wrong=$(jq -rR 'fromjson? | select(.diagnostic.severity? == "error") | .diagnostic |
    if .summary == "Invalid value for variable" then .detail | split("\n")[0] else .summary + ": " + .detail end' "$WORK/said" | sort -u)
  [ -n "$wrong" ] || wrong=$(grep . "$WORK/said" | tail -n 1)
  die "$OPERATOR_FILE does not pass Terraform's checks: ${wrong//$'\n'/ }"
}

# The identity that creates the clusters must be one of their administrators, or it could not log in to them.
administrator() {
  local name=${CALLER##*[[:space:]]}
  case $name in
    *:assumed-role/*) name=${name#*:assumed-role/} name=${name%%/*} ;;
    *) name=${name##*[:/]} ;;
  esac
  sed -n '/^administrators *=/,/}/p' "$OPERATOR_FILE" | grep -qE "(role|user)/([^\"]*/)?$name\"" ||
    die "administrators in $OPERATOR_FILE does not name $name, the identity of these credentials: add its ARN, or the clusters will refuse you"
}

# ask_input NAME EXAMPLE: asks, and adds the answer to the file in the example's form.
ask_input() {
  local answer
  printf '%s\n  %s, for example %s: ' "$1" "$(sed -n "/^variable \"$1\"/,/^}/s/^ *description = \"\(.*\)\"/\1/p" \
    terraform/environments/shared/variables.tf)" "$(grep -oE '"[^"]+"' <<<"$2" | tail -n 1)"
  read -r answer <&3
  [ -n "$answer" ] || die "$1 must not be empty"
  case $2 in
    \[*) answer="[\"${answer//,/\", \"}\"]" ;;
    \{*) answer="{ operator = \"$answer\" }" ;;
    *) answer="\"$answer\"" ;;
  esac
  printf '%s = %s\n' "$1" "$answer" >>"$OPERATOR_FILE"
}

opt_in() {
  local site region status
  for site in $SITES; do
    region=$(region "$site")
    if [ -n "$(of_site "$site" AWS_ENDPOINT_URL)" ]; then
      step "$region: not checked, because it has its own endpoint"
      continue
    fi
    # Asked in us-east-1, which every account has.
    status=$(aws_in "$CONTROL" --region us-east-1 ec2 describe-regions --all-regions --region-names "$region" \
      --query 'Regions[0].OptInStatus' --output text) || die "cannot find out whether $region is enabled (ec2:DescribeRegions failed)"
    [ "$status" != not-opted-in ] ||
      die "$region is not enabled in this account: run aws account enable-region --region-name $region, wait some minutes, then run make phase-0"
    aws_in "$site" sts get-caller-identity >/dev/null 2>"$WORK/said" ||
      die "$region is enabled, but rejects these credentials: $(tail -n 1 "$WORK/said"). Session tokens from the global endpoint are valid only in the default regions: set AWS_STS_REGIONAL_ENDPOINTS=regional, then log in again"
    step "$region: $status"
  done
}

# The letters of zones differ between accounts, their ids do not. use1-az3 has neither RDS Proxy nor the nodes' instance
# types.
zones() {
  local site file found poor
  for site in $SITES; do
    file="terraform/environments/$site/terraform.tfvars"
    found=$(aws_in "$site" ec2 describe-availability-zones --query 'AvailabilityZones[].[ZoneName,ZoneId]' --output text 2>/dev/null) || continue
    poor=$(awk '$2 == "use1-az3" { print $1 }' <<<"$found")
    [ -z "$poor" ] || ! grep '^availability_zones' "$file" | grep -q "\"$poor\"" ||
      die "$poor is the zone use1-az3 in this account, which has neither RDS Proxy nor the nodes' instance types: set availability_zones in $file to three of$(awk '$2 != "use1-az3" { printf " %s", $1 }' <<<"$found")"
  done
}

# pinned SITE FOLDER NAME...: the values of these variables of FOLDER, as JSON, read by Terraform itself. A folder that
# has only variables needs no provider and no state.
pinned() {
  local site=$1 folder="$WORK/pinned/$1/$2" name files=() wanted=
  mkdir -p "$folder"
  cp "terraform/$2/variables.tf" "$folder"
  if [ "$2" = environments/shared ]; then
    # As if Argo CD ran in this region, so that nothing is needed from the other one.
    printf 'locals {\n  control_site = "%s"\n}\n' "$site" >"$folder/site.tf"
    files=("-var-file=$ROOT/terraform/environments/$site/terraform.tfvars" "-var-file=$(realpath "$OPERATOR_FILE")")
  fi
  for name in "${@:3}"; do wanted+="$name = var.$name, "; done
  # Warnings come first, on the same stream.
  terraform -chdir="$folder" console "${files[@]}" <<<"jsonencode({ $wanted})" 2>"$WORK/$site.said" | tail -n 1 | jq -r . ||
    die "$site: cannot read the pinned versions and types from Terraform: $(grep . "$WORK/$site.said" | tail -n 1)"
}

# Writes what is pinned for each region to a file. The system nodes and PostgreSQL's version are pinned in the modules.
pins() {
  local site
  for site in $SITES; do
    {
      pinned "$site" environments/shared addon_versions application_nodes availability_zones database_instance_class \
        kubernetes_version monthly_budget_usd
      pinned "$site" modules/eks system_nodes
      pinned "$site" modules/rds engine_version
    } | jq -s add >"$WORK/$site.pins"
  done
}

pin() { jq -r ".$2" "$WORK/$1.pins"; }

# If the payer of its organization has not enabled budgets, AWS refuses an account's budget near the end of phase 1.
budgets() {
  local site files=()
  for site in $SITES; do
    [ "$(pin "$site" monthly_budget_usd)" = 0 ] || files+=("terraform/environments/$site/terraform.tfvars")
  done
  [ ${#files[@]} -gt 0 ] || return 0
  if aws_in "$CONTROL" --region us-east-1 budgets describe-budgets --account-id "$(operator account_id)" --max-results 1 \
    >/dev/null 2>"$WORK/said"; then return; fi
  if grep -qiE 'linked account|payer' "$WORK/said"; then
    die "this account may not have a budget: ask the account that pays for its organization to enable budgets, or set monthly_budget_usd = 0 in ${files[*]}: $(grep . "$WORK/said" | tail -n 1)"
  fi
  step "cannot check in advance whether this account may have a budget: $(grep . "$WORK/said" | tail -n 1)"
}

# Asks in advance for what AWS would refuse in the middle of an apply. A region's own endpoint may not know the answer.
offers() {
  local site
  for site in $SITES; do
    nodes_offered "$site"
    if [ -n "$(of_site "$site" AWS_ENDPOINT_URL)" ]; then continue; fi
    addons_offered "$site"
    database_offered "$site"
  done
}

# offered SITE COMMAND...: writes AWS's answer to a file.
offered() {
  aws_in "$1" "${@:2}" --output json >"$WORK/$1.offered" 2>"$WORK/$1.said" || {
    step "$1: cannot check in advance, because $2 $3 failed: $(grep . "$WORK/$1.said" | tail -n 1)"
    return 1
  }
}

# lacking SITE FILTER: what is pinned for a region and missing from AWS's answer, as a list with commas.
lacking() { jq -r --slurpfile pins "$WORK/$1.pins" "\$pins[0] as \$pins | [$2] | unique | join(\", \")" "$WORK/$1.offered"; }

addons_offered() {
  local site=$1 version missing
  version=$(pin "$site" kubernetes_version)
  offered "$site" eks describe-addon-versions --kubernetes-version "$version" || return 0
  # shellcheck disable=SC2016 # jq's own
  missing=$(lacking "$site" '
    (.addons | group_by(.addonName) | map({key: .[0].addonName, value: [.[].addonVersions[].addonVersion]}) | from_entries) as $offered |
    $pins.addon_versions | to_entries[] | ($offered[.key] // []) as $known | select(.value as $pinned | $known | index([$pinned]) | not) |
    "\(.key) \(.value) (available: \(if $known == [] then "none" else $known[:5] | join(" ") end))"')
  [ -z "$missing" ] ||
    die "$site: for Kubernetes $version, EKS in $(region "$site") does not offer $missing: change addon_versions, or kubernetes_version, in terraform/environments/shared/variables.tf"
}

database_offered() {
  local site=$1 class missing
  class=$(pin "$site" database_instance_class)
  offered "$site" rds describe-orderable-db-instance-options --engine postgres --db-instance-class "$class" || return 0
  # shellcheck disable=SC2016 # jq's own
  missing=$(lacking "$site" '
    [.OrderableDBInstanceOptions[] | select(.MultiAZCapable) | .EngineVersion] | unique |
    select(any(. == $pins.engine_version or startswith($pins.engine_version + ".")) | not) |
    "PostgreSQL \($pins.engine_version) (available: \(if . == [] then "none" else .[-5:] | join(" ") end))"')
  [ -z "$missing" ] ||
    die "$site: on $class in two zones, RDS in $(region "$site") does not offer $missing: change database_instance_class in terraform/environments/shared/variables.tf, or engine_version in terraform/modules/rds/variables.tf"
}

# The system nodes use only as many zones as there are nodes.
nodes_offered() {
  local site=$1 types missing
  types=$(pin "$site" '| [.application_nodes, .system_nodes] | map(.instance_types[]) | unique | join(",")')
  offered "$site" ec2 describe-instance-type-offerings --location-type availability-zone \
    --filters "Name=instance-type,Values=$types" || return 0
  # shellcheck disable=SC2016 # jq's own
  missing=$(lacking "$site" '
    (.InstanceTypeOfferings | map({type: .InstanceType, zone: .Location})) as $offered |
    ($pins | [.application_nodes.instance_types, .availability_zones], [.system_nodes.instance_types, .availability_zones[:.system_nodes.count]]) |
    [.[0][] as $type | .[1][] as $zone | {type: $type, zone: $zone}] - $offered | .[] | . as $one |
    "\(.type) in \(.zone) (available in: \([$offered[] | select(.type == $one.type) | .zone] | if . == [] then "no zone" else join(" ") end))"')
  [ -z "$missing" ] ||
    die "$site: EC2 does not offer $missing: change application_nodes in terraform/environments/shared/variables.tf, system_nodes in terraform/modules/eks/variables.tf, or availability_zones in terraform/environments/$site/terraform.tfvars"
}

state_buckets() {
  local site bucket
  # With this option, a bucket of another account is not taken for ours, even if it has this name and is open to
  # everybody.
  OURS=(--expected-bucket-owner "$(operator account_id)")
  for site in $SITES; do
    bucket=$(state_bucket "$site")
    # Versioning is set last: where it is on, the bucket is complete.
    if ! dry && [ "$(aws_in "$site" s3api get-bucket-versioning --bucket "$bucket" "${OURS[@]}" --query Status --output text 2>"$WORK/said")" = Enabled ]; then
      step "state bucket $bucket"
      continue
    fi
    ! grep -qE 'AccessDenied|Forbidden|\(403\)' "$WORK/said" 2>/dev/null ||
      die "bucket $bucket belongs to another account, or these credentials may not read it: choose another state_bucket_prefix in $OPERATOR_FILE, or get the right to read it"
    step "state bucket $bucket: creating it"
    make_bucket "$site" "$bucket"
  done
}

# A region that exists has a state. With a new bucket, Terraform would start a second one that does not know the region.
first_state() {
  local site=$1 bucket=$2 name
  [ -z "$TERRAFORM_OUTPUTS" ] || return 0
  name=$(cluster "$site")
  if known "$site" eks describe-cluster --name "$name" || known "$site" rds describe-db-instances --db-instance-identifier "$name"; then
    die "$name exists, but not bucket $bucket with its state: set state_bucket_prefix in $OPERATOR_FILE to the prefix that it was created with (aws s3 ls lists the buckets)"
  fi
}

# known SITE COMMAND...: whether AWS knows it. Any error but "not found" ends the script.
known() {
  if aws_in "$@" >/dev/null 2>"$WORK/$1.said"; then return; fi
  grep -qE 'ResourceNotFound|DBInstanceNotFound' "$WORK/$1.said" ||
    die "$1: cannot find out whether $(cluster "$1") exists ($2 $3): $(grep . "$WORK/$1.said" | tail -n 1)"
  return 1
}

make_bucket() {
  local site=$1 bucket=$2 region place=()
  region=$(region "$site")
  # us-east-1 is the only region that must not be named here.
  [ "$region" = us-east-1 ] || place=(--create-bucket-configuration "LocationConstraint=$region")
  dry || ! aws_in "$site" s3api head-bucket --bucket "$bucket" "${OURS[@]}" >/dev/null 2>&1 || place=(exists)
  [ "${place[*]}" = exists ] || dry || first_state "$site" "$bucket"
  [ "${place[*]}" = exists ] || change aws_in "$site" s3api create-bucket --bucket "$bucket" "${place[@]}" >/dev/null ||
    die "bucket $bucket could not be created; if its name is taken, choose another state_bucket_prefix in $OPERATOR_FILE"
  change aws_in "$site" s3api put-public-access-block --bucket "$bucket" "${OURS[@]}" --public-access-block-configuration \
    BlockPublicAcls=true,IgnorePublicAcls=true,BlockPublicPolicy=true,RestrictPublicBuckets=true
  change aws_in "$site" s3api put-bucket-encryption --bucket "$bucket" "${OURS[@]}" --server-side-encryption-configuration \
    '{"Rules":[{"ApplyServerSideEncryptionByDefault":{"SSEAlgorithm":"aws:kms"},"BucketKeyEnabled":true}]}'
  change aws_in "$site" s3api put-bucket-tagging --bucket "$bucket" "${OURS[@]}" --tagging \
    "TagSet=[{Key=Project,Value=$PROJECT},{Key=DataResidency,Value=$(tfvar residency "terraform/environments/$site/terraform.tfvars")}]"
  change aws_in "$site" s3api put-bucket-versioning --bucket "$bucket" "${OURS[@]}" --versioning-configuration Status=Enabled
}

# At least five nodes of two vCPUs are needed; at most 19, while all node groups are upgraded at once: a group grows by
# up to twice the number of its zones
# (https://docs.aws.amazon.com/eks/latest/userguide/managed-node-update-behavior.html), and the system nodes have two
# zones.
processor_quota() {
  local site limit
  for site in $SITES; do
    limit=$(aws_in "$site" service-quotas get-service-quota --service-code ec2 --quota-code L-1216C47A \
      --query Quota.Value --output text 2>/dev/null) || continue
    limit=${limit%.*}
    [[ $limit =~ ^[0-9]+$ ]] || continue
    [ "$limit" -ge 10 ] ||
      die "$site: the account may run $limit vCPUs of standard instances, but the smallest number of nodes needs 10: request an increase of L-1216C47A in Service Quotas"
    [ "$limit" -ge 38 ] ||
      step "$site: $limit vCPUs of standard instances are enough to start with; an upgrade of all nodes takes up to 38 (Service Quotas, L-1216C47A)"
  done
}

hosted_zone() {
  local zone found
  zone=$(operator zone_name)
  found=$(aws_in "$CONTROL" route53 list-hosted-zones-by-name --dns-name "$zone" \
    --query "HostedZones[?Name=='$zone.' && Config.PrivateZone==\`false\`].Id" --output text) ||
    die "cannot list the hosted zones of Route 53 (route53:ListHostedZonesByName failed)"
  [ -n "$found" ] || die "Route 53 has no public hosted zone $zone: create it, or change zone_name in $OPERATOR_FILE"
  step "hosted zone $zone"
}

repository() {
  local url
  url=$(operator git_repository)
  git ls-remote --quiet "$url" >/dev/null 2>"$WORK/said" ||
    die "the git repository $url (git_repository in $OPERATOR_FILE) cannot be read: $(tail -n 1 "$WORK/said")"
  git push --quiet --dry-run --force "$url" "HEAD:refs/heads/$RELEASE_BRANCH" 2>"$WORK/said" ||
    die "cannot push to $RELEASE_BRANCH of $url: $(tail -n 1 "$WORK/said")"
  git var GIT_COMMITTER_IDENT >/dev/null 2>&1 ||
    die "git has no committer identity: set it with git config user.name and git config user.email"
  step "git repository $url: you may push to $RELEASE_BRANCH"
}

if dry; then
  step "would check: tools and versions, AWS credentials, $OPERATOR_FILE (asks for what is missing), enabled regions,"
  step "             whether AWS offers the pinned versions and types, hosted zone, right to push; would create, if missing:"
  state_buckets
  exit
fi
check_image
tools
credentials
inputs
administrator
opt_in
zones
processor_quota
if [ -z "$TERRAFORM_OUTPUTS" ]; then
  pins
  budgets
  offers
fi
state_buckets
hosted_zone
repository
