# Thin: each target is one script. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help run test check image bench bench-quick bench-micro bench-plots allocators terraform-check argocd-check rotation-test clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-15s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

run: ## start a private TLS PostgreSQL and the service, print a ready curl; Ctrl-C stops both
	@scripts/run.sh

test: ## install what the tests need, run all of them
	@scripts/test.sh

check: ## format, lints, scripts, house rules, licences
	@scripts/check.sh

image: ## build the scratch image, check its size, serve a payment out of it
	@scripts/image.sh
	@scripts/image-test.sh

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

terraform-check: ## format, validate, test, tflint and checkov of Terraform; no account needed
	@scripts/terraform-check.sh

argocd-check: ## what Argo CD may deploy, against the chart, Terraform and itself
	@scripts/argocd-check.sh

rotation-test: ## rotate database logins against a real PostgreSQL, with the function that Lambda gets
	@scripts/rotation-test.sh

clean: ## stop the private PostgreSQL and remove what was built
	@scripts/postgres.sh remove
	@rm -rf target .dev .tools
