# shellcheck shell=bash
# The rehearsal's surroundings: two control planes, and stand-ins for AWS; sourced by rehearse.sh, never run.

AWS_CLI_VERSION=1.45.11

tools() {
  need_rust
  need jq jq
  need git git
  need curl curl
  need openssl openssl
  need skopeo skopeo
  need buildah buildah
  need setpriv util-linux
  need redis-check-rdb redis-tools
  need haproxy haproxy
  unpack docker-registry docker-registry || die "the rehearsal needs an image registry (Debian's package docker-registry)"
  scripts/postgres.sh install || die "the rehearsal needs PostgreSQL's server programs"
  have terraform || die "terraform is missing: install 1.11 or later"
  install_chart_tools
  if ! have aws; then
    need_packages "$CACHE/aws" "awscli==$AWS_CLI_VERSION"
    PATH="$VENV/bin:$PATH"
  fi
  scripts/cluster/build.sh
  scripts/cluster/build.sh argocd
}

# What the phases read: scripts/phases/settings.sh explains each.
settings() {
  CHECKOUT="$STAGE/checkout"
  export PATH="$CLUSTER_BIN:$PATH" PYTHONPATH="$ROOT/chart/tests:$ROOT/scripts/rehearse" PG_BINDIR
  PG_BINDIR=$(scripts/postgres.sh bindir)
  export KUBECTL_BIN="$CLUSTER_BIN/kubectl" EXTERNAL_SECRETS_BIN="$CLUSTER_BIN/external-secrets" MOTO_BIN="$CHART_VENV/bin/moto_server"
  export REGISTRY_AUTH_FILE="$STAGE/auth.json"
  echo '{}' >"$REGISTRY_AUTH_FILE"
  OFFLINE=$(offline_terraform)
  export OFFLINE
  # The rehearsal must not use make's flags or this machine's AWS settings.
  unset MAKEFLAGS MAKELEVEL MFLAGS AWS_CA_BUNDLE AWS_PROFILE AWS_REGION AWS_DEFAULT_REGION AWS_ENDPOINT_URL AWS_SESSION_TOKEN
  export AWS_CONFIG_FILE=/dev/null AWS_SHARED_CREDENTIALS_FILE=/dev/null AWS_EC2_METADATA_DISABLED=true
  export AWS_ACCESS_KEY_ID=testing AWS_SECRET_ACCESS_KEY=testing
  export GIT_AUTHOR_NAME=rehearsal GIT_AUTHOR_EMAIL=rehearsal@example.com
  export GIT_COMMITTER_NAME=rehearsal GIT_COMMITTER_EMAIL=rehearsal@example.com

  export KUBECONFIG="$STAGE/kubeconfig" CLUSTERS=given MEXICO_ARGOCD_CONTEXT=mexico-deployer REGISTRY=plain
  export TERRAFORM_OUTPUTS="$STAGE/outputs" OPERATOR_FILE="$STAGE/operator.tfvars" RELEASE_BRANCH=main CONFIRM=yes
  export SKIP_ADDONS="metrics-server kube-prometheus-stack aws-load-balancer-controller external-secrets cluster-autoscaler argo-cd"
  # A pod's files are renewed every second here, a kubelet's every minute or so.
  export POLL_S=1 KUBELET_S=3 APPLICATIONS_WAIT_S=240 PAYMENT_WAIT_S=90 KEY_WAIT_S=120
}

# Newer aws clients talk to CloudWatch in CBOR, which moto does not know. moto knows the former protocol, and the client
# uses the protocol that its description of the service names.
cloudwatch_by_query() {
  mkdir -p "$STAGE/models/cloudwatch/2010-08-01"
  export AWS_DATA_PATH="$STAGE/models"
  "$CHART_PYTHON" -B -c '
import json
from botocore.loaders import Loader
model = Loader().load_service_model("cloudwatch", "service-2")
model["metadata"] |= {"protocol": "query", "protocols": ["query"]}
print(json.dumps(model))' >"$STAGE/models/cloudwatch/2010-08-01/service-2.json"
}

# What a region's programs, among them chart/tests/cluster.py, read from their environment.
region_env() {
  REGION_ENV=("PAYMENTS_DEV=$STAGE/$1/dev" "E2E_FOLDER=$STAGE/$1" "KUBECONFIG=$STAGE/$1/kubeconfig")
}
at() {
  region_env "$1"
  env "${REGION_ENV[@]}" "${@:2}"
}
python_at() { at "$1" "$CHART_PYTHON" -B "$ROOT/scripts/rehearse/$2.py" "${@:3}"; }
sql() { at "$1" scripts/postgres.sh sql "$2"; }

# launch FOLDER NAME COMMAND...: starts a program that is ended together with the folder's others; NAME is a word of its
# command line.
launch() {
  local folder=$1 name=$2
  shift 2
  "$@" </dev/null >"$folder/$name.log" 2>&1 9>&- &
  echo "$! $name" >>"$folder/processes"
}

listens() { ! port_is_free "$1"; }

# ---- A region

region_stage() {
  local site=$1 region
  region=$(region "$site")
  KUBELETS=given scripts/cluster/up.sh "$STAGE/$site" "${region}a" "${region}b" "${region}c"
  at "$site" scripts/postgres.sh start
  MOTO=$(at "$site" "$CHART_PYTHON" -B -c '
from cluster import SecretsManager, external_secrets
manager = SecretsManager()
external_secrets(manager.url)
print(manager.url)')
  export "${site^^}_AWS_ENDPOINT_URL=$MOTO"
  registry "$site"
  balancer "$site"
  at "$site" kubectl apply --server-side --filename scripts/rehearse/metrics.yaml
  region_env "$site"
  launch "$STAGE/$site" node.py env "${REGION_ENV[@]}" "$CHART_PYTHON" -B scripts/rehearse/node.py "$(network "$site")"
}

# The network of a region's pods.
network() { case $1 in spain) echo 127.20.0 ;; *) echo 127.21.0 ;; esac; }

# Acts as the region's load balancer: two paths are open, and a pod is a target as long as its /readyz says so.
balancer() {
  local folder="$STAGE/$1" pods port number
  pods=$(free_port)
  port=$(free_port)
  echo "$pods" >"$folder/pods.port"
  export "${1^^}_PAYMENTS_URL=http://127.0.0.1:$port"
  {
    cat <<CFG
defaults
  mode http
  timeout connect 2s
  timeout client 60s
  timeout server 60s
frontend payments
  bind 127.0.0.1:$port
  http-request deny deny_status 404 unless { path_beg /api/payment/ } or { path /health }
  default_backend pods
backend pods
  option httpchk GET /readyz
  option redispatch 1
  default-server check inter 500ms fall 2 rise 1
CFG
    for number in $(seq 16); do echo "  server pod$number $(network "$1").$number:$pods"; done
  } >"$folder/balancer.cfg"
  launch "$folder" haproxy haproxy -db -f "$folder/balancer.cfg"
  wait_until "the load balancer of $1 is listening" 30 listens "$port"
}

registry() {
  local folder="$STAGE/$1" port
  port=$(free_port)
  echo "127.0.0.1:$port" >"$folder/registry.address"
  cat >"$folder/registry.yaml" <<YAML
version: 0.1
log: {level: warn}
storage: {filesystem: {rootdirectory: "$folder/registry"}}
http: {addr: "127.0.0.1:$port"}
YAML
  # Of its environment, the registry takes what begins with REGISTRY_ as its settings.
  launch "$folder" docker-registry env -u REGISTRY_AUTH_FILE -u REGISTRY \
    "$TOOLS/docker-registry/usr/bin/docker-registry" serve "$folder/registry.yaml"
  printf '[[registry]]\nlocation = "127.0.0.1:%s"\ninsecure = true\n' "$port" >>"$STAGE/registries.conf"
  wait_until "the registry of $1 is listening" 30 listens "$port"
}

# ---- What both share

shared_stage() {
  mkdir -p "$STAGE/shared"
  kubeconfig
  git_server
  argocd
  # The hosted zone of the host names: phase 0 looks for it.
  aws_in spain route53 create-hosted-zone --name "$(operator zone_name)" --caller-reference rehearsal --query HostedZone.Id --output text
}

# One file whose contexts have the regions' names, with another context for the user that Mexico admits as Argo CD.
kubeconfig() {
  local site
  for site in $SITES; do
    at "$site" kubectl config view --raw --flatten --output json | jq --arg site "$site" '
      .clusters[].name = $site
      | .users[] |= (.name = if .name == "admin" then $site else $site + "-" + .name end)
      | .contexts[] |= (.context.cluster = $site | .context.user = (if .name == "local" then $site else $site + "-" + .name end) | .name = .context.user)'
  done | jq -s '{apiVersion: "v1", kind: "Config", "current-context": "spain",
    clusters: map(.clusters[]), users: map(.users[]), contexts: map(.contexts[])}' >"$KUBECONFIG"
  chmod 600 "$KUBECONFIG"
}

# Serves this commit, with the rehearsal's own settings on top: the database's CA, and a port that is free on this host.
git_server() {
  local folder="$STAGE/shared" port site
  port=$(free_port)
  GIT_URL="git://127.0.0.1:$port/payment-latency-api.git"
  sed -e "s|^git_repository .*|git_repository = \"$GIT_URL\"|" -e 's|role/operator|user/moto|' \
    terraform/operator.tfvars.example >"$OPERATOR_FILE"
  git init --quiet --bare --initial-branch main "$folder/git/payment-latency-api.git"
  launch "$folder" git-daemon "$(git --exec-path)/git-daemon" --export-all --enable=receive-pack --base-path="$folder/git" \
    --listen=127.0.0.1 --port="$port" --reuseaddr "$folder/git"
  wait_until "the git server is listening" 30 listens "$port"

  git clone --quiet --no-local "file://$ROOT" "$CHECKOUT"
  git -C "$CHECKOUT" remote set-url origin "$GIT_URL"
  mkdir -p "$ROOT/target/rehearse"
  ln -s "$ROOT/target/rehearse" "$CHECKOUT/target"
  (
    cd "$CHECKOUT" || exit 1
    git checkout --quiet -B main
    for site in $SITES; do
      printf 'database: {caConfigMap: authority}\nsettings: {port: %s}\n' "$(cat "$STAGE/$site/pods.port")" >>"argocd/releases/$site.yaml"
    done
    git commit --quiet --all --message "What is the rehearsal's own"
    git push --quiet --set-upstream origin main
  )
}

# Argo CD's settings as its chart would write them from argocd/values.yaml.
argocd_settings() {
  "$CHART_PYTHON" -B - <<'PY'
import json, secrets, yaml

configs = yaml.safe_load(open("argocd/values.yaml"))["configs"]


def one(kind, name, content=None):
    labels = {"app.kubernetes.io/part-of": "argocd"}
    return {"apiVersion": "v1", "kind": kind, "metadata": {"name": name, "namespace": "argocd", "labels": labels}, **(content or {})}


items = [
    {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "argocd"}},
    one("ConfigMap", "argocd-cm", {"data": configs["cm"]}),
    one("ConfigMap", "argocd-cmd-params-cm", {"data": configs["params"]}),
    *(one("ConfigMap", f"argocd-{name}-cm") for name in ("rbac", "ssh-known-hosts", "tls-certs", "gpg-keys")),
    one("Secret", "argocd-secret", {"stringData": {"server.secretkey": secrets.token_hex(32)}}),
]
print(json.dumps({"apiVersion": "v1", "kind": "List", "items": items}))
PY
}

argocd() {
  local folder="$STAGE/spain" home="$STAGE/spain/argocd" redis repo environment part
  mkdir -p "$home"/{bin,gnupg,tls,ssh,tmp}
  for part in repo-server application-controller applicationset-controller; do
    ln -s "$CLUSTER_BIN/argocd" "$home/bin/argocd-$part"
  done
  # The program decides by its name what it does.
  ln -s "$(command -v redis-check-rdb)" "$home/bin/redis-server"
  argocd_settings | kube spain apply --server-side --filename - >/dev/null
  redis=$(free_port)
  launch "$folder" redis-server "$home/bin/redis-server" --bind 127.0.0.1 --port "$redis" --save '' --dir "$home/tmp"
  wait_until "Redis is listening" 30 listens "$redis"
  environment=(
    "KUBECONFIG=$folder/kubeconfig" "TMPDIR=$home/tmp" "HOME=$home" "ARGOCD_ASK_PASS_SOCK=$home/ask-pass.sock" ARGOCD_GPG_ENABLED=false
    "ARGOCD_GNUPGHOME=$home/gnupg" "ARGOCD_TLS_DATA_PATH=$home/tls" "ARGOCD_SSH_DATA_PATH=$home/ssh"
  )
  repo=$(free_port)
  launch "$folder" argocd-repo-server env "${environment[@]}" "$home/bin/argocd-repo-server" --logformat text \
    --address 127.0.0.1 --port "$repo" --metrics-address 127.0.0.1 --metrics-port "$(free_port)" --disable-tls --redis "127.0.0.1:$redis"
  wait_until "Argo CD's repo server is listening" 60 listens "$repo"
  launch "$folder" argocd-application-controller env "${environment[@]}" "$home/bin/argocd-application-controller" --logformat text \
    --namespace argocd --metrics-port "$(free_port)" --repo-server "127.0.0.1:$repo" --repo-server-plaintext --redis "127.0.0.1:$redis" \
    --app-resync 10 --app-resync-jitter 0
  launch "$folder" argocd-applicationset-controller env "${environment[@]}" "$home/bin/argocd-applicationset-controller" --logformat text \
    --namespace argocd --argocd-repo-server "127.0.0.1:$repo" --repo-server-plaintext --metrics-addr "127.0.0.1:$(free_port)" \
    --probe-addr "127.0.0.1:$(free_port)" --webhook-addr "127.0.0.1:$(free_port)"
}

# ---- What phase 1 would have created

phase_1() {
  local site
  scripts/terraform-check.sh environments/spain environments/mexico
  mkdir -p "$TERRAFORM_OUTPUTS"
  scripts/rotation-package.sh "$STAGE/shared/rotation.zip"
  for site in $SITES; do region_in_moto "$site"; done
  phase phase-1
}

secret_in_moto() { aws_in "$1" secretsmanager create-secret --name "$PROJECT/production/$2" "${@:3}" --query Name --output text; }

role_in_moto() {
  aws_in "$1" iam create-role --role-name "$PROJECT-$1-$2" --query Role.Arn --output text \
    --assume-role-policy-document '{"Version": "2012-10-17", "Statement": []}'
}

# rotation SITE ARGUMENTS...: runs the function of terraform/modules/rotation, as Secrets Manager calls it.
rotation() {
  AWS_ENDPOINT_URL=$(of_site "$1" AWS_ENDPOINT_URL) AWS_DEFAULT_REGION=$(region "$1") python_at "$1" rotation "$STAGE/shared/rotation.zip" "${@:2}"
}

# What later phases read from Terraform's outputs: created in moto by the real client, and written in Terraform's form.
region_in_moto() {
  local site=$1 region host api_key application migrate certificate waf declared
  region=$(region "$site")
  host="$site.$(operator domain)"
  api_key=$(secret_in_moto "$site" api-key)
  rotation "$site" first
  aws_in "$site" cloudwatch put-metric-alarm --alarm-name "$(cluster "$site")-cpu" --namespace AWS/RDS --metric-name CPUUtilization \
    --statistic Average --period 60 --evaluation-periods 5 --threshold 80 --comparison-operator GreaterThanThreshold
  aws_in "$site" ecr create-repository --repository-name "$PROJECT" --query repository.repositoryName
  application=$(role_in_moto "$site" application)
  migrate=$(role_in_moto "$site" migrate)
  certificate=$(aws_in "$site" acm request-certificate --domain-name "$host" --query CertificateArn --output text)
  waf=$(aws_in "$site" wafv2 create-web-acl --name "$PROJECT" --scope REGIONAL --default-action 'Allow={}' --query Summary.ARN --output text \
    --visibility-config SampledRequestsEnabled=false,CloudWatchMetricsEnabled=false,MetricName=none)
  jq -n --arg site "$site" --arg region "$region" --arg account "$(operator account_id)" --arg cluster "$(cluster "$site")" \
    --arg endpoint "$(kubectl config view --output "jsonpath={.clusters[?(@.name=='$site')].cluster.server}")" \
    --arg registry "$(cat "$STAGE/$site/registry.address")" --arg project "$PROJECT" --arg host "$host" --arg key "$api_key" \
    --arg git "$GIT_URL" --arg application "$application" --arg migrate "$migrate" --arg certificate "$certificate" --arg waf "$waf" '
    {nat_addresses: {value: ["192.0.2.1"]}, facts: {value: {
      site: $site, region: $region, environment: "production", account_id: $account, cluster_name: $cluster, cluster_endpoint: $endpoint,
      cluster_ca: "none", vpc_id: "none", image_registry: $registry, image_repository: $project, host: $host,
      certificate_arn: $certificate, waf_arn: $waf, database_proxy: "localhost", load_balancer_cidrs: "none", database_cidrs: "none",
      application_role_arn: $application, migrate_role_arn: $migrate, load_balancer_role_arn: "none", autoscaler_role_arn: "none",
      argocd_role_arn: "none", deployer_role_arn: "none", api_key_secret: $key, git_repository: $git}}}' >"$TERRAFORM_OUTPUTS/$site.json"
  declared=$(sed -n '/^output "facts"/,/^}/s/^    \([a-z_]*\) *= .*/\1/p' terraform/environments/shared/outputs.tf | LC_ALL=C sort)
  [ "$(jq -r '.facts.value | keys[]' "$TERRAFORM_OUTPUTS/$site.json" | LC_ALL=C sort)" = "$declared" ] ||
    die "Terraform's output facts no longer has the names that region_in_moto in scripts/rehearse/stage.sh writes: correct these"
}

# The database and its proxy under the names that Terraform gives them, which only the runbook needs.
database_in_moto() {
  local site=$1 name vpc zone group key subnets=()
  name=$(cluster "$site")
  vpc=$(aws_in "$site" ec2 create-vpc --cidr-block 10.0.0.0/16 --query Vpc.VpcId --output text)
  for zone in a b; do
    subnets+=("$(aws_in "$site" ec2 create-subnet --vpc-id "$vpc" --availability-zone "$(region "$site")$zone" \
      --cidr-block "10.0.$((16#$zone)).0/24" --query Subnet.SubnetId --output text)")
  done
  group=$(aws_in "$site" ec2 create-security-group --vpc-id "$vpc" --group-name "$name" --description "$name" --query GroupId --output text)
  key=$(aws_in "$site" kms create-key --query KeyMetadata.KeyId --output text)
  {
    aws_in "$site" kms create-alias --alias-name "alias/$name/database" --target-key-id "$key"
    aws_in "$site" rds create-db-subnet-group --db-subnet-group-name "$name" --db-subnet-group-description "$name" --subnet-ids "${subnets[@]}"
    aws_in "$site" rds create-db-parameter-group --db-parameter-group-name "$name" --db-parameter-group-family postgres17 --description "$name"
    aws_in "$site" rds create-db-instance --db-instance-identifier "$name" --engine postgres --db-instance-class db.m7g.large \
      --allocated-storage 100 --multi-az --storage-encrypted --kms-key-id "alias/$name/database" --db-subnet-group-name "$name" \
      --db-parameter-group-name "$name" --vpc-security-group-ids "$group" --master-username owner --master-user-password "$(openssl rand -hex 16)"
    aws_in "$site" rds create-db-proxy --db-proxy-name "$name" --engine-family POSTGRESQL --auth AuthScheme=SECRETS \
      --role-arn "arn:aws:iam::$(operator account_id):role/$name" --vpc-subnet-ids "${subnets[@]}"
    aws_in "$site" rds register-db-proxy-targets --db-proxy-name "$name" --db-instance-identifiers "$name"
  } >/dev/null
}

# What else only the runbook asks for: the alarms' topic, a group of nodes, log groups.
others_in_moto() {
  local site=$1 name topic role log
  name=$(cluster "$site")
  role="arn:aws:iam::$(operator account_id):role/$name"
  topic=$(aws_in "$site" sns create-topic --name "$name-alerts" --query TopicArn --output text)
  {
    aws_in "$site" sns subscribe --topic-arn "$topic" --protocol email --notification-endpoint "$(operator alert_email)"
    aws_in "$site" eks create-cluster --name "$name" --role-arn "$role" \
      --resources-vpc-config subnetIds=subnet-a,subnet-b,publicAccessCidrs=192.0.2.1/32
    aws_in "$site" eks create-nodegroup --cluster-name "$name" --nodegroup-name app-a --subnets subnet-a --node-role "$role"
    aws_in "$site" rds create-db-parameter-group --db-parameter-group-name default.postgres18 --db-parameter-group-family postgres18 \
      --description "AWS has one for each major version"
    for log in RDSOSMetrics "aws-waf-logs-$name" "/aws/lambda/$name-rotation"; do
      aws_in "$site" logs create-log-group --log-group-name "$log"
    done
  } >/dev/null
}

# An image that a registry has, for those who ask ECR about it.
image_in_moto() {
  local site=$1 digest place
  digest=$(sed -n 's/^  digest: "\(.*\)"/\1/p' "$CHECKOUT/argocd/releases/$site.yaml")
  place=$(cat "$STAGE/$site/registry.address")/$PROJECT
  aws_in "$site" ecr put-image --repository-name "$PROJECT" --image-digest "$digest" --image-tag "$(version_of "$CHECKOUT")-by-hand" \
    --image-manifest "$(skopeo inspect --tls-verify=false --raw "docker://$place@$digest")" --query image.imageId
}

# A load balancer as the cluster's controller would make it.
balancer_in_moto() {
  local site=$1 subnets
  read -ra subnets < <(aws_in "$site" ec2 describe-subnets --filters Name=default-for-az,Values=true --query 'Subnets[].SubnetId' --output text)
  aws_in "$site" elbv2 create-load-balancer --name "$PROJECT" --tags "Key=elbv2.k8s.aws/cluster,Value=$(cluster "$site")" \
    --subnets "${subnets[@]}" --query 'LoadBalancers[0].LoadBalancerArn' --output text
}

# A state of Terraform's, in its bucket and, with a higher serial, as an apply leaves it that could not write it.
lay_state() {
  local folder
  folder="$CHECKOUT/terraform/environments/$1"
  jq -n '{version: 4, terraform_version: "1.11.0", serial: 1, lineage: "rehearsal", outputs: {}, resources: [
    ["module.rds.module.rds.module.db_instance", "managed", "aws_db_instance", "this",
      {engine_version: "17.9", master_user_secret: [{kms_key_id: "key"}]}],
    ["module.audit", "managed", "aws_kms_alias", "logs", {}],
    ["module.audit.module.bucket", "managed", "aws_s3_bucket", "this", {}],
    ["module.vpc", "data", "aws_region", "current", {}]
    | {module: .[0], mode: .[1], type: .[2], name: .[3], provider: "provider[\"registry.terraform.io/hashicorp/aws\"]",
       instances: [{index_key: (if .[2] == "aws_db_instance" then 0 else null end), schema_version: 0, attributes: .[4]}
         | with_entries(select(.value != null))]}]}' >"$STAGE/$1/region.tfstate"
  jq '.serial = 99' "$STAGE/$1/region.tfstate" >"$folder/errored.tfstate"
  aws_in "$1" s3 cp --quiet "$STAGE/$1/region.tfstate" "s3://$(state_bucket "$1")/region.tfstate"
}

# The lock of an apply that was killed. Prints its ID.
lay_lock() {
  local id=11111111-2222-3333-4444-555555555555
  jq -n --arg id $id --arg path "$(state_bucket "$1")/region.tfstate" '{ID: $id, Operation: "OperationTypeApply",
    Info: "", Who: "somebody@elsewhere", Version: "1.11.0", Created: "2026-01-01T00:00:00Z", Path: $path}' |
    aws_in "$1" s3 cp --quiet - "s3://$(state_bucket "$1")/region.tfstate.tflock"
  echo $id
}

# Writes a damaged state over the one that was laid, and prints that one's version.
former_state() {
  jq '.serial = 50 | .resources = []' "$STAGE/$1/region.tfstate" |
    aws_in "$1" s3 cp --quiet - "s3://$(state_bucket "$1")/region.tfstate"
  aws_in "$1" s3api list-object-versions --bucket "$(state_bucket "$1")" --prefix region.tfstate --output text \
    --query "Versions[?Key=='region.tfstate'] | [1].VersionId"
}

# state_was_changed SITE BLOCK: whether the state in the bucket is as a block leaves it that writes it.
state_was_changed() {
  local holds
  case $(cat "$2") in
    *force-unlock*)
      ! aws_in "$1" s3 ls "s3://$(state_bucket "$1")/region.tfstate.tflock" >/dev/null || die "$1: the lock is still there"
      return
      ;;
    *errored.tfstate*) holds='.serial >= 99' ;;
    *former.tfstate*) holds='.resources | length == 4' ;;
    *'state rm'*) holds='[.resources[].type] | index("aws_db_instance") == null' ;;
    *'state pull'*) holds='[.resources[] | select(.type == "aws_db_instance").instances[0].attributes] == [{engine_version: "17",
      manage_master_user_password: true, master_user_secret: [{kms_key_id: "key"}], master_user_secret_kms_key_id: "key"}]' ;;
    *) return ;;
  esac
  aws_in "$1" s3 cp --quiet "s3://$(state_bucket "$1")/region.tfstate" - | jq -e "$holds" >/dev/null || die "$1: the block did not write the state: $holds"
}

# A bucket with a version of an object, a newer one, and the mark of its deletion.
full_bucket() {
  local bucket
  bucket="full-$1-$(region "$1")"
  {
    aws_in "$1" s3 mb "s3://$bucket"
    aws_in "$1" s3api put-bucket-versioning --bucket "$bucket" --versioning-configuration Status=Enabled
    for _ in 1 2; do aws_in "$1" s3 cp - "s3://$bucket/region.tfstate" <<<"$RANDOM"; done
    aws_in "$1" s3 rm "s3://$bucket/region.tfstate"
  } >/dev/null
}

# A stand-in for Prometheus, on a node of KWOK's, with a claim that is bound. If the pod came before the volumes are
# known, the scheduler would wait for somebody to make one.
with_prometheus() {
  if ! kube "$1" get pv first >/dev/null 2>&1; then
    kube "$1" apply --server-side --filename scripts/rehearse/volumes.yaml
    kube "$1" wait pv --all --for=jsonpath='{.status.phase}'=Available --timeout=60s
    kube "$1" apply --server-side --filename scripts/rehearse/prometheus.yaml
  fi >/dev/null
  wait_until "Prometheus' pod of $1 runs with its claim" 90 prometheus_runs "$1"
}

prometheus_runs() {
  SEEN=$(kube "$1" --namespace monitoring get pvc,pods --output 'jsonpath={range .items[*]}{.kind} {.status.phase} {.metadata.deletionTimestamp}{";"}{end}')
  [ "$SEEN" = "PersistentVolumeClaim Bound ;Pod Running ;" ]
}

# ---- The end

# Ends everything. A second call finds nothing to do.
strike() {
  local folder one left
  [ -d "$STAGE" ] || return 0
  [ -z "$UP" ] || { kill -INT -- "-$UP" && wait "$UP"; } 2>/dev/null || true
  # There is no need to wait for a drain now.
  for one in $(sed -n 's/ node.py$//p' "$STAGE"/*/processes 2>/dev/null) $(pods_of spain) $(pods_of mexico); do
    kill -KILL "$one" 2>/dev/null || true
  done
  for folder in shared mexico spain; do
    [ ! -d "$STAGE/$folder" ] || scripts/cluster/down.sh "$STAGE/$folder"
    [ ! -d "$STAGE/$folder/dev" ] || at "$folder" scripts/postgres.sh remove
  done
  # Processes that got their own signal may be about to end.
  for _ in $(seq 20); do
    left=$(processes_left)
    [ -n "$left" ] || break
    sleep 0.5
  done
  # shellcheck disable=SC2086
  [ -z "$left" ] || kill -KILL $left 2>/dev/null || true
  as_root rm -rf "$STAGE"
  [ -z "$left" ] || die "these processes were left behind and have been killed: ${left//$'\n'/ }"
}

# The processes of a region's pods.
pods_of() { { find /proc -maxdepth 2 -name exe -lname "$STAGE/$1/images/*" 2>/dev/null || true; } | tr -dc '0-9\n'; }

# Processes that have this rehearsal's folder in their environment.
processes_left() {
  local one
  # The search itself has ended by the time its results are read.
  grep -slaz "^STAGE=$STAGE\$" /proc/[0-9]*/environ >"$STAGE/left" || true
  while read -r one; do
    [ ! -e "$one" ] || tr -dc '0-9\n' <<<"$one"
  done <"$STAGE/left"
}
