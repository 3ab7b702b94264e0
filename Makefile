# Thin: each target is one script. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help run test check image bench bench-quick bench-micro bench-plots allocators clean
.PHONY: chart-test chart-e2e version-set

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start a private TLS PostgreSQL and the service, print a ready curl; Ctrl-C stops both
	@scripts/run.sh

test: ## install what the tests need, run all of them
	@scripts/test.sh

check: ## format, lints, scripts, house rules, licences
	@scripts/check.sh

image: ## build the scratch image, check its size, serve a payment out of it
	@scripts/image.sh
	@scripts/image-test.sh

chart-test: ## the Helm chart without a cluster: renders, refusals, alerts, documents, checkov
	@scripts/chart-test.sh

chart-e2e: ## the Helm chart on a real control plane, with External Secrets, Secrets Manager and the service
	@scripts/chart-e2e.sh

version-set: ## VERSION=1.2.3 for the service and the chart
	@scripts/version-set.sh "$(VERSION)"

bench: ## latency beside the peers and the floors, an hour; recorded in docs/performance
	@scripts/bench.sh

bench-quick: ## the essential part of it, in about five minutes; recorded nowhere
	@scripts/bench.sh --quick

bench-micro: ## time and allocations of the steps of a payment
	@scripts/bench-micro.sh

bench-plots: ## write the tables and draw the pictures of docs/PERFORMANCE.md
	@scripts/bench-plots.sh

allocators: ## compare mimalloc with the system's allocator, side by side
	@scripts/allocators.sh

clean: ## stop the private PostgreSQL and remove what was built
	@scripts/postgres.sh remove
	@rm -rf target .dev .tools
