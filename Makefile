# The targets only call scripts. `make help` lists them.
.DEFAULT_GOAL := help

##@ Develop
.PHONY: help run run-test test test-postgres check image clean
help: ## list the targets
	@awk -F ':.*## |##@ ' '/^##@ / { printf "\n%s\n", $$2 } /^[a-z0-9-]+:.*## / { printf "  make %-19s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start a private TLS PostgreSQL and the service, print a ready curl command; Ctrl-C stops both
	@scripts/run.sh

run-test: ## test `make run` from scratch: the payment it prints, a second run beside it, Ctrl-C, nothing left behind
	@scripts/run-test.sh

test: ## install what the service's tests need, and run them (cargo test)
	@scripts/test.sh

test-postgres: ## run the tests of schema and service against the version of PostgreSQL that RDS runs
	@scripts/test-postgres.sh

check: ## check format, lints, scripts, house rules, documents, workflows and licences
	@scripts/check.sh

image: ## build the scratch image, check its size, serve a payment from it
	@scripts/image.sh
	@scripts/image-test.sh

clean: ## stop the private PostgreSQL and remove what was built
	@scripts/postgres.sh remove
	@rm -rf target .dev .tools

##@ Two regions in AWS (settings: scripts/phases/settings.sh)
.PHONY: up status down rotate-api-key phase-0 phase-1 phase-2 phase-3 phase-4 phase-5 phase-6 phase-7
up: ## bring up both regions in AWS: the check and the seven phases in order; DRY_RUN=yes prints what they would run
	@scripts/phases/0-check.sh
	@scripts/phases/1-terraform.sh
	@scripts/phases/2-kubeconfig.sh
	@scripts/phases/3-image.sh
	@scripts/phases/4-addons.sh
	@scripts/phases/5-secrets.sh
	@scripts/phases/6-argocd.sh
	@scripts/phases/7-applications.sh

status: ## both regions on one screen: nodes, pods, image, sync, health, endpoint, payments, alarms
	@scripts/phases/status.sh

down: ## tear both regions down; asks first, unless CONFIRM=yes
	@scripts/phases/down.sh

rotate-api-key: ## put a new API key into both regions; the old one stays valid until callers have changed over
	@scripts/phases/rotate-api-key.sh

phase-0: ## check tools, credentials and inputs; create the state buckets
	@scripts/phases/0-check.sh

phase-1: ## apply Terraform in both regions, side by side
	@scripts/phases/1-terraform.sh

phase-2: ## create the kubectl contexts spain and mexico
	@scripts/phases/2-kubeconfig.sh

phase-3: ## build the image, push it to both registries, commit its digest
	@scripts/phases/3-image.sh

phase-4: ## install the add-ons in both clusters
	@scripts/phases/4-addons.sh

phase-5: ## create an API key in each region; an existing one is kept
	@scripts/phases/5-secrets.sh

phase-6: ## install Argo CD in Spain and register both regions
	@scripts/phases/6-argocd.sh

phase-7: ## deploy both applications, publish their host names, make a payment through each
	@scripts/phases/7-applications.sh

##@ Latency
.PHONY: bench bench-quick bench-against bench-micro bench-plots variants
bench: ## measure latency beside the peers and the floors, in about an hour; recorded in docs/performance
	@scripts/bench.sh

bench-quick: ## run the essential part of `make bench`, in about five minutes; not recorded
	@scripts/bench.sh --quick

bench-against: ## measure this code and REVISION in turns; without it, that of the record, to see if it still holds
	@scripts/bench-against.sh

bench-micro: ## measure the time and the allocations of each step of a payment
	@scripts/bench-micro.sh

bench-plots: ## write the tables and draw the pictures of docs/PERFORMANCE.md
	@scripts/bench-plots.sh

variants: ## compare other builds of the service: size, instructions, CPU time, memory; recorded in docs/performance
	@scripts/variants.sh

##@ Faults, crowds, growth
.PHONY: simulate simulate-mutants faults abuse soak overload growth reliability-tables
simulate: ## run the simulation for SEEDS seeds (100000), starting at FIRST (0)
	@scripts/simulate.sh

simulate-mutants: ## make mutants of a copy of the code, and expect the simulation to find each one
	@scripts/simulate-mutants.sh

faults: ## break everything under load, ROUNDS=20 times, and compare the ledger with the table
	@scripts/reliability.sh faults

abuse: ## run crowds of slow, silent and greedy callers beside paying ones
	@scripts/reliability.sh abuse

soak: ## pay 1,000 times a second for MINUTES=30, with random faults
	@scripts/reliability.sh soak

overload: ## offer 3 and 10 times what a small setup can carry, then more than the processor can serve
	@scripts/reliability.sh overload

growth: ## pay into a table of ten million rows, also while prune runs
	@scripts/reliability.sh growth

reliability-tables: ## write the tables of docs/RELIABILITY.md
	@scripts/reliability.sh tables

##@ Hostile input, and what the binary is made of
.PHONY: fuzz http-compare sbom reproducible
fuzz: ## fuzz each target for MINUTES (1); TARGETS='requests chunks' picks some
	@scripts/fuzz.sh

http-compare: ## send the tests' raw requests to this service, nginx and hyper, side by side
	@scripts/http-compare.sh

sbom: ## write what is in the binary, as CycloneDX, and its authors' notices: target/sbom.cdx.json, notices.txt
	@scripts/sbom.sh

reproducible: ## build the image's binary here and in another folder, and compare the bytes
	@scripts/reproducible.sh

##@ Tests of the deployment; no account needed
.PHONY: chart-test chart-e2e terraform-check argocd-check rotation-test phases-test rehearse
chart-test: ## test the Helm chart without a cluster: renders, refusals, alerts, documents, checkov
	@scripts/chart-test.sh

chart-e2e: ## test the chart on a real control plane, with External Secrets, Secrets Manager and the service; as root
	@scripts/chart-e2e.sh

terraform-check: ## check Terraform: format, validate, test, tflint and checkov; no account needed
	@scripts/terraform-check.sh

argocd-check: ## check argocd/ against the chart, Terraform and itself
	@scripts/argocd-check.sh

rotation-test: ## rotate database logins against a real PostgreSQL, with the function that Lambda gets
	@scripts/rotation-test.sh

phases-test: ## test every phase against stand-ins for its tools: failures, half-done states, repeats, secrets
	@scripts/phases-test.sh

rehearse: ## run both regions and all phases on this machine; docs/REHEARSAL.md says how long each took
	@scripts/rehearse.sh

##@ Release
.PHONY: version-set
version-set: ## set VERSION=1.2.3 for the service and the chart
	@scripts/version-set.sh "$(VERSION)"

.PHONY: release release-verify release-notes scan publish-image publish-index publish-chart publish-test
release: ## make the notes, commit and tag of VERSION=1.2.3, to be pushed by hand; DRY_RUN=yes says what it would do
	@scripts/release.sh "$(VERSION)" $(if $(DRY_RUN),--dry-run)

# The workflow gives a tag's name in the environment: make would expand what is in it.
release-verify: ## check that TAG=v1.2.3 is a release, on the branch that is checked out
	@scripts/release.sh --verify "$${TAG:-}"

release-notes: ## print the notes of TAG=v1.2.3
	@scripts/release.sh --notes "$${TAG:-}"

scan: ## look for known vulnerabilities in what `make sbom` listed; downloads the vulnerability database
	@scripts/scan.sh

publish-image: ## push the image in ARCHIVE to REPOSITORY; prints its digest
	@scripts/publish.sh image "$(REPOSITORY)" "$(ARCHIVE)"

publish-index: ## push one name for the images with DIGESTS to REPOSITORY; prints its digest
	@scripts/publish.sh index "$(REPOSITORY)" $(DIGESTS)

publish-chart: ## push the chart to REPOSITORY; prints its digest
	@scripts/publish.sh chart "$(REPOSITORY)"

publish-test: ## push the image and the chart to a registry on loopback, as a release does
	@scripts/publish-test.sh

##@ Documents and security
.PHONY: docs-check links dates drawings
docs-check: ## check the documents against the repository and the records; LINKS=no skips links to other sites
	@scripts/docs-check.sh

links: ## follow every external link of the documents, as docs-check does if there is internet access
	@scripts/links.sh

dates: ## fail if support ends within 90 days for anything that is deployed
	@scripts/dates.sh

drawings: ## draw docs/drawings/*.dot
	@scripts/drawings.sh

.PHONY: checklist
checklist: ## run the security checklist as far as it needs no cloud account, after breaking each check on purpose
	@scripts/checklist.sh
