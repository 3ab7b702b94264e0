# shellcheck shell=bash
# Versions of the control plane's parts, and where they are kept; sourced, never run.

export KUBERNETES_VERSION=1.35.4
export ETCD_VERSION=3.6.7
export KWOK_VERSION=0.8.0
export EXTERNAL_SECRETS_VERSION=0.20.4
export PROMETHEUS_OPERATOR_VERSION=0.85.0
export ARGO_CD_VERSION=3.2.11
export HELM_PACKAGE_VERSION=2.0.0

export CLUSTER_STORE="$CACHE/cluster/store" CLUSTER_BIN="$CACHE/cluster/bin"
