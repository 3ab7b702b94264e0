# shellcheck shell=bash
# What the phases share; sourced, never run.
#
# Call in_regions, and any function that it runs, as a plain command, not in `if` or with `||`: there, bash ignores
# commands that fail inside.
# shellcheck source=../lib.sh
source "$(dirname "${BASH_SOURCE[0]}")/../lib.sh"
# shellcheck source=settings.sh
source "$ROOT/scripts/phases/settings.sh"

PROJECT=payment-latency-api
# The scripts that source this use these.
# shellcheck disable=SC2034
NAMESPACE=$PROJECT CONTROL=spain # Argo CD runs here
export AWS_PAGER='' AWS_RETRY_MODE=standard TF_IN_AUTOMATION=1 GIT_TERMINAL_PROMPT=0

# ---- One script: what it prints first and last

# begin NAME WHAT NEXT ARGUMENTS...
begin() {
  NAME=$1 NEXT=$3
  local what=$2 argument sites=
  shift 3
  for argument in "$@"; do
    case $argument in
      --dry-run) DRY_RUN=yes ;;
      --json) JSON=yes ;;
      *) printf 'usage: %s [--dry-run]\n%s\n' "$0" "$what" >&2; exit 2 ;;
    esac
  done
  # With any other spelling of yes, a dry run would change things instead of showing them.
  for argument in DRY_RUN CONFIRM; do
    [[ ${!argument} =~ ^(yes)?$ ]] || die "$argument=${!argument} is not valid: set it to yes, or leave it out"
  done
  [[ $REGISTRY =~ ^(ecr|plain)$ ]] || die "REGISTRY=$REGISTRY is not valid: it must be ecr or plain"
  [[ $CLUSTERS =~ ^(eks|given)$ ]] || die "CLUSTERS=$CLUSTERS is not valid: it must be eks or given"
  for argument in $SITES; do
    [ -e "terraform/environments/$argument/terraform.tfvars" ] || die "SITES names $argument, which is not a region: the regions are spain and mexico"
    [[ " $sites " != *" $argument "* ]] || die "SITES names $argument twice"
    sites+=" $argument"
  done
  SITES=${sites# }
  [ -n "$SITES" ] || die "SITES names no region"
  WORK=$(mktemp -d)
  # For lines that are shown even if a caller redirects standard output.
  exec 9>&1
  trap finish EXIT
  trap interrupted INT TERM HUP
  [ -n "${JSON:-}" ] || printf '\n== %s: %s%s\n' "$NAME" "$what" "$(dry && echo ' (dry run: nothing is changed)')"
}

finish() {
  local code=$?
  rm -rf "$WORK"
  [ -z "${JSON:-}" ] || exit "$code"
  case $code in
    0) printf '== %s took %s s%s\n' "$NAME" "$SECONDS" "${NEXT:+; next: $NEXT}" ;;
    *) printf '== %s stopped after %s s. Fix the cause, then run %s again: it continues where it stopped.\n' \
      "$NAME" "$SECONDS" "make ${NAME/ /-}" >&2 ;;
  esac
}

JOBS=()
interrupted() {
  local job
  trap '' INT TERM HUP PIPE
  # After HUP there may be nobody to read it.
  echo "interrupted: waiting for the running commands to end cleanly" >&2 || true
  for job in "${JOBS[@]}"; do kill -TERM -- "-$job" 2>/dev/null || true; done
  wait
  exit 130
}

step() { printf '%s\n' "- $*"; }
dry() { [ "$DRY_RUN" = yes ]; }

# ask_first WHAT WORD: continues only if WORD is typed, or with CONFIRM=yes.
ask_first() {
  local answer
  if dry || [ "$CONFIRM" = yes ]; then return; fi
  [ -t 0 ] || die "$1. This must be confirmed: run it in a terminal, or set CONFIRM=yes"
  printf '%s. To continue, type %s: ' "$1" "$2"
  read -r answer
  [ "$answer" = "$2" ] || die "not confirmed, so nothing more was done"
}

# ---- Commands. A dry run prints the commands that would change something, and runs none of them.

change() { if dry; then would "$@"; else "$@"; fi; }

# Like `change`, for a command that reads its standard input.
change_by() { if dry; then cat >/dev/null; would "$@"; else "$@"; fi; }

would() {
  local word line=
  case $1 in
    aws_in) set -- aws --region "$(region "$2")" "${@:3}" ;;
    kube) set -- kubectl --context "${@:2}" ;;
    tf) set -- terraform -chdir="terraform/environments/$2" "${@:3}" ;;
  esac
  for word in "$@"; do
    case $word in '' | *[!A-Za-z0-9_./:=,@%+-]*) word="'${word//\'/\'\\\'\'}'" ;; esac
    line+=" $word"
  done
  printf '    would run:%s\n' "$line" >&9
}

# status sets a time limit here, for each of its parts.
LIMIT=()

aws_in() {
  local endpoint
  endpoint=$(of_site "$1" AWS_ENDPOINT_URL)
  # For RDS in us-east-1 the client uses a built-in address and ignores the environment's, so it is passed as an option.
  "${LIMIT[@]}" aws --region "$(region "$1")" "${@:2}" ${endpoint:+--endpoint-url "$endpoint"}
}
kube() { "${LIMIT[@]}" kubectl --context "$@"; }
tf() { "${LIMIT[@]}" terraform -chdir="terraform/environments/$1" "${@:2}"; }

# spawn COMMAND...: runs it in the background, in its own process group, so that Ctrl-C reaches it only once, through
# `interrupted`. It ends after its children.
spawn() {
  set -m
  (
    set +m
    trap 'exit 143' TERM
    "$@"
  ) </dev/null &
  set +m
  JOBS+=("$!")
}

# in_regions FUNCTION ARGUMENTS...: runs FUNCTION ARGUMENTS... SITE for all regions side by side, and marks each line
# with its region. Each region's run is completed, even if the other's fails.
in_regions() {
  local site failed=()
  declare -A job
  for site in $SITES; do
    if dry; then
      "$@" "$site" 9>&1 | mark "$site"
    else
      spawn in_region "$site" "$@"
      job[$site]=$!
    fi
  done
  for site in "${!job[@]}"; do wait "${job[$site]}" || failed+=("$site"); done
  JOBS=()
  [ ${#failed[@]} -gt 0 ] || return 0
  [ ${#failed[@]} = ${#job[@]} ] || step "the other region succeeded"
  die "${failed[*]} failed: the lines above that begin with the region's name say why"
}

in_region() {
  local site=$1
  shift
  {
    trap 'exit 143' TERM
    "$@" "$site"
  } 9>&1 2>&1 | mark "$site"
}

# Ignores signals and a closed terminal: if it ended, so would the command that writes to it.
mark() {
  trap '' INT TERM HUP PIPE
  local line
  while IFS= read -r line || [ -n "$line" ]; do printf '%-6s | %s\n' "$1" "$line" || true; done
}

# Reads an Application: the revision at which it is held, if it does not follow the release branch.
held() { jq -r --arg branch "$RELEASE_BRANCH" '.spec.source.targetRevision // $branch | select(. != $branch) | .[:12]'; }

version() { sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1; }

# Checks of a release's image that need no network.
check_image() {
  [ -n "$IMAGE" ] || return 0
  [[ $IMAGE =~ ^[^@[:space:]]+/[^@:/[:space:]]+@sha256:[0-9a-f]{64}$ ]] ||
    die "IMAGE=$IMAGE is not valid: it must be REGISTRY/NAME@sha256: and 64 hexadecimal digits, without a tag"
  [[ $IMAGE_SIGNER == *@refs/tags/v$(version) ]] ||
    die "IMAGE_SIGNER must be the identity that signed $IMAGE, and end with @refs/tags/v$(version), the version of this checkout (docs/RELEASES.md)"
  have cosign || die "cosign, which verifies the signature of IMAGE, is missing: install 3 or later from https://docs.sigstore.dev"
}

# wait_until WHAT SECONDS COMMAND...: repeats COMMAND until it succeeds; COMMAND may report its progress in SEEN.
wait_until() {
  local what=$1 limit=$2 began=$SECONDS said=$SECONDS
  shift 2
  if dry; then
    printf '    would wait until %s, up to %s s\n' "$what" "$limit"
    return
  fi
  SEEN=
  until "$@"; do
    [ $((SECONDS - began)) -lt "$limit" ] || die "timed out after $limit s waiting until $what${SEEN:+ (last seen: $SEEN)}"
    if [ $((SECONDS - said)) -ge "$PROGRESS_S" ]; then
      said=$SECONDS
      printf '  ... %s s, waiting until %s%s\n' $((SECONDS - began)) "$what" "${SEEN:+: $SEEN}" >&9
    fi
    sleep "$POLL_S"
  done
}

# patiently WHAT COMMAND...: runs a command that takes long and prints nothing, and prints what it is waiting for. Use
# it only inside in_regions, whose process group receives an interruption.
patiently() {
  local what=$1 job
  shift
  "$@" </dev/null &
  job=$!
  trap 'wait "$job"; exit 143' TERM
  dry || wait_until "$what" 86400 ended "$job"
  trap 'exit 143' TERM
  wait "$job"
}

ended() { ! kill -0 "$1" 2>/dev/null; }

# remove SITE SECONDS NAMESPACE KIND [NAME]: deletes it, or all of the kind, and waits until it no longer exists.
remove() {
  local site=$1 limit=$2 namespace=$3 kind=$4 name=${5:-}
  change kube "$site" --namespace "$namespace" delete "$kind" "${name:---all}" --ignore-not-found --wait=false &&
    (wait_until "no $kind ${name:+$name }is left" "$limit" gone "$site" "$namespace" "$kind" "$name")
}

gone() {
  SEEN=$(kube "$1" --namespace "$2" get "$3" ${4:+"$4"} --ignore-not-found --output name) && [ -z "$SEEN" ]
}

# ---- What is known of a region

of_site() {
  local name="${1^^}_$2"
  printf '%s' "${!name:-}"
}

# tfvar NAME [FILE]: a string of a .tfvars file.
tfvar() { sed -n "s/^$1 *= *\"\([^\"]*\)\".*/\1/p" "${@:2}"; }
region() { tfvar region "terraform/environments/$1/terraform.tfvars"; }
operator() { if dry && [ ! -e "$OPERATOR_FILE" ]; then echo "${1^^}"; else tfvar "$1" "$OPERATOR_FILE"; fi; }
stage() { cat "terraform/environments/$1/terraform.tfvars" "$OPERATOR_FILE" 2>/dev/null | tfvar environment | grep . || echo production; }
cluster() { echo "$PROJECT-$1"; }
# The name includes the region, so that a site that moves to another region starts with a new state.
state_bucket() { echo "$(operator state_bucket_prefix)-$1-$(region "$1")"; }

# Terraform's outputs of a region, for `fact` and `output` to read.
load_outputs() {
  local site=$1 found="$WORK/$1.found"
  if [ -n "$TERRAFORM_OUTPUTS" ]; then
    cp "$TERRAFORM_OUTPUTS/$site.json" "$found" || die "the folder TERRAFORM_OUTPUTS=$TERRAFORM_OUTPUTS has no readable $site.json"
  elif dry; then
    return
  else
    { { connected "$site" || connect "$site"; } && tf "$site" output -json >"$found"; } >"$WORK/$site.said" 2>&1 ||
      die "$site: Terraform's outputs cannot be read (run make phase-0 to see what is missing): $(grep . "$WORK/$site.said" | tail -n 1)"
  fi
  jq -e .facts.value "$found" >/dev/null || die "$site has not been created yet: run make phase-1"
  mv "$found" "$WORK/$site.json"
}

load_all_outputs() {
  local site
  for site in $SITES; do load_outputs "$site"; done
}

# One of Terraform's outputs, as JSON. Assign it before use: only then does a missing one stop the script.
output() {
  jq -ce --arg name "$2" '.[$name].value' "$WORK/$1.json" || die "$1: Terraform has no output $2: run make phase-1"
}

# fact SITE NAME: one of the output `facts`. Assign it before use.
fact() {
  if dry && [ ! -e "$WORK/$1.json" ]; then
    echo "${1^^}_${2^^}"
  else
    jq -re --arg name "$2" '.facts.value[$name]' "$WORK/$1.json" 2>/dev/null || die "$1: Terraform's output facts has no $2: run make phase-1"
  fi
}

# Connects Terraform to the state of a region, whatever it was connected to before, and fetches its modules and
# providers.
connect() {
  change tf "$1" init -input=false -no-color -reconfigure -backend-config=bucket="$(state_bucket "$1")" \
    -backend-config=region="$(region "$1")" -backend-config=key=region.tfstate
}

connected() {
  local found
  found=$(jq -r .backend.config.bucket "terraform/environments/$1/.terraform/terraform.tfstate" 2>/dev/null) &&
    [ "$found" = "$(state_bucket "$1")" ]
}

skipped() {
  [[ " $SKIP_ADDONS " == *" $1 "* ]] || return 1
  step "$1: skipped, because SKIP_ADDONS names it"
}

# What a cluster's controller has created, found by its tag, one ARN per line.
load_balancers() { of_cluster "$1" load-balancers LoadBalancers LoadBalancerArn; }
target_groups() { of_cluster "$1" target-groups TargetGroups TargetGroupArn; }

# of_cluster SITE WHAT LIST ARN: asks the load balancers' own service. The index of all tags lags behind: it does not
# have what was created just now, and still has what was deleted.
of_cluster() {
  local site=$1 found arns=() at
  found=$(aws_in "$site" elbv2 "describe-$2" --output json) && found=$(jq -r ".$3[].$4" <<<"$found") || return
  if [ -n "$found" ]; then mapfile -t arns <<<"$found"; fi
  # AWS returns the tags of at most twenty at a time.
  for ((at = 0; at < ${#arns[@]}; at += 20)); do
    found=$(aws_in "$site" elbv2 describe-tags --resource-arns "${arns[@]:at:20}" --output json) || return
    jq -r --arg cluster "$(cluster "$site")" '.TagDescriptions[] |
      select(any(.Tags[]; .Key == "elbv2.k8s.aws/cluster" and .Value == $cluster)) | .ResourceArn' <<<"$found" || return
  done
}

# ---- Payments

address() {
  local address host
  address=$(of_site "$1" PAYMENTS_URL)
  if [ -z "$address" ]; then
    host=$(fact "$1" host) || return 2
    address="https://$host"
  fi
  printf '%s' "$address"
}

# The keys of a region as its secret holds them: one, or NEW,OLD.
api_keys() {
  local name
  name=$(fact "$1" api_key_secret) || return 2
  aws_in "$1" secretsmanager get-secret-value --secret-id "$name" --query SecretString --output text
}

random_key() {
  local key
  if dry; then return; fi
  key=$(openssl rand -hex 32)
  [ ${#key} = 64 ] || die "openssl rand did not return 64 hexadecimal digits"
  printf '%s' "$key"
}

# put_keys SITE KEYS: writes them through standard input, where no list of processes shows them.
put_keys() {
  local name
  name=$(fact "$1" api_key_secret)
  printf '%s' "$2" | change_by aws_in "$1" secretsmanager put-secret-value --secret-id "$name" \
    --secret-string file:///dev/stdin --query VersionStages --output text
}

# pay SITE COUNT KEY [FRESH]: makes payments one after the other, on one connection, or each on a fresh one. Prints a
# line for each: status, milliseconds without opening the connection, milliseconds with it, the service's own
# milliseconds. curl gets the key through its standard input, where no list of processes shows it.
pay() {
  local site=$1 count=$2 key=$3 fresh=${4:-} address
  address=$(address "$site") || return 2
  key=${key//\\/\\\\}
  {
    printf 'header = "X-API-Key: %s"\n' "${key//\"/\\\"}"
    [ -z "$fresh" ] || printf 'header = "Connection: close"\n'
    for ((; count > 0; count--)); do printf 'url = "%s/api/payment/simulate"\noutput = /dev/null\n' "$address"; done
  } | "${LIMIT[@]}" curl --config - --silent --max-time 10 --connect-timeout 5 \
    --write-out '%{http_code} %{time_pretransfer} %{time_starttransfer} %header{server-timing}\n' |
    awk '{
      own = "-"
      if (match($0, /total;dur=[0-9.]+/)) own = substr($0, RSTART + 10, RLENGTH - 10)
      printf "%s %.1f %.1f %s\n", $1, ($3 - $2) * 1000, $3 * 1000, own
    }'
}

# percentiles COLUMN: p50 and p99 (nearest rank) of a column of pay's lines.
percentiles() {
  awk -v column="$1" '$1 == 200 { print $column }' | sort -n |
    awk '{ value[NR] = $1 } END { if (NR) printf "p50 %s ms, p99 %s ms", value[int((NR + 1) / 2)], value[int(NR * 0.99 + 0.999999)] }'
}
