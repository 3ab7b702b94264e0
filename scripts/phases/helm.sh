# shellcheck shell=bash
# Installs a chart that addons/charts.txt pins; sourced after common.sh, never run.

ADDONS="$ROOT/scripts/phases/addons"

# chart NAME SITE [ARGUMENTS...]; for use in_regions.
chart() {
  local name=$1 site=$2 namespace repository version
  shift 2
  if skipped "$name"; then return; fi
  if [ -n "$ADDON_VALUES" ] && [ -e "$ADDON_VALUES/$name.yaml" ]; then set -- "$@" --values "$ADDON_VALUES/$name.yaml"; fi
  read -r _ namespace repository version < <(grep "^$name " "$ADDONS/charts.txt")
  step "$name $version"
  dry || unstick "$site" "$name" "$namespace"
  patiently "$name is ready" change helm --kube-context "$site" upgrade --install "$name" "$name" --repo "$repository" --version "$version" \
    --namespace "$namespace" --create-namespace --wait --timeout 10m "$@" >"$WORK/$site.$name" ||
    die "$site: $name could not be installed: run kubectl --context $site --namespace $namespace get pods,events to see why"
}

# After an interrupted install, Helm refuses to install again.
unstick() {
  local status
  status=$(helm --kube-context "$1" status "$2" --namespace "$3" --output json 2>/dev/null | jq -r .info.status) || return 0
  case $status in
    pending-install | uninstalling)
      step "$2: an install was interrupted; uninstalling it first"
      helm --kube-context "$1" uninstall "$2" --namespace "$3" --wait >/dev/null
      ;;
    pending-upgrade | pending-rollback)
      step "$2: an upgrade was interrupted; rolling it back first"
      helm --kube-context "$1" rollback "$2" --namespace "$3" --wait >/dev/null
      ;;
  esac
}

# Gives the ServiceAccount at PATH of a chart's values an IAM role: role PATH ARN
role() { printf '%s.annotations.eks\\.amazonaws\\.com/role-arn=%s' "$1" "$2"; }
