#!/usr/bin/env bash
# `make rehearse`: runs both regions and all phases on this machine, without a cloud account. docs/REHEARSAL.md says
# what is real here and what is a stand-in. It rehearses what is committed. Everything is in one folder and ends with
# this script.
# shellcheck source=phases/common.sh
source "$(dirname "$0")/phases/common.sh"
# shellcheck source=cluster/versions.sh
source "$ROOT/scripts/cluster/versions.sh"
# shellcheck source=chart-tools.sh
source "$ROOT/scripts/chart-tools.sh"
# shellcheck source=rehearse/report.sh
source "$ROOT/scripts/rehearse/report.sh"
# shellcheck source=rehearse/stage.sh
source "$ROOT/scripts/rehearse/stage.sh"
# shellcheck source=rehearse/play.sh
source "$ROOT/scripts/rehearse/play.sh"

git diff --quiet HEAD || say "there are uncommitted changes, which are not rehearsed"
tools

# Where wait_until prints what it is waiting for.
exec 9>&1
UP=
STAGE=$(mktemp -d)
# Every process of the rehearsal has STAGE in its environment, and is found again by it.
export STAGE
chmod 755 "$STAGE"
trap curtain EXIT
trap 'exit 130' INT TERM
settings
cloudwatch_by_query

for site in $SITES; do
  act "stage: $site" "control plane, PostgreSQL with TLS, moto, registry, External Secrets" region_stage "$site"
done
act "stage: shared" "git server, this commit in it; Argo CD's controllers in Spain" shared_stage

act "phase 0" "the check passes against real tools, moto and git" phase phase-0
act "phase 1" "terraform test of both environments; what later phases read is made in moto" phase_1
act "phase 2" "both contexts answer" phase phase-2
act "phase 3" "the image, built once, is in both registries by one digest, committed and pushed" image
act "phase 4" "skips each add-on by name: their charts are not on this machine" phase phase-4
act "phase 5" "each Secrets Manager has its own API key" phase phase-5
act "phase 6" "both regions registered; Argo CD may do in Mexico what argocd/rbac.yaml says" phase phase-6
act "phase 7" "each region's migration has run as its Job; both Applications Synced and Healthy; a payment through each load balancer" applications

act "payments" "each is stored in its own region alone; probe measures them" payments
act "status" "make status reports that both regions are well, and shows an alarm of AWS" status
act "drift" "what was changed and deleted by hand is healed" drift
act "API keys" "rotated by make rotate-api-key; no process was replaced, no payment failed" keys
act "passwords" "rotated by the function that Lambda runs; no process was replaced, no payment failed" passwords
act "secrets away" "Spain's Secrets Manager does not answer: a new pod starts, the Secret stays as it is; no payment failed" away
act "new version" "committed, built, rolled out pod by pod in Spain while Mexico is held, then in Mexico; no payment failed" release
act "roll back" "by the runbook's blocks: both regions to the former version, then one region by itself; no payment failed" roll_back
act "by hand" "by the runbook's blocks: a version is built and pushed in Spain, copied to Mexico and released there; no payment failed" release_by_hand
act "runbook" "the blocks marked for it, and commands in sentences, work by hand; a deployment at 0 pods is left at 0" runbook
act "alerts" "after a crash, the commands of the alerts' pages; make chart-e2e asks what they ask of Prometheus" alerts
act "tear down by hand" "Mexico goes by the runbook's blocks, Spain stays; make phase-6 phase-7 bring Mexico back" torn_down_by_hand
act "down" "no Application, Ingress, Secret, role, namespace or process is left" tear_down
act "up again" "make up, interrupted after each of its phases, completes when it is run again" interrupted_up
act "region lost" "all of Mexico is killed; in Spain no payment failed, its Application is Synced and Healthy, drift is healed" lost
act "end" "no process is left behind" strike
report
