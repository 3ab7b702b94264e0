# Thin: each target is one script. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help run test check image bench bench-quick bench-micro bench-plots allocators fuzz http-compare sbom reproducible clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

fuzz: ## fuzz each target for MINUTES (1); TARGETS='requests chunks' picks some
	@scripts/fuzz.sh

http-compare: ## the tests' raw requests to this service, nginx and hyper side by side
	@scripts/http-compare.sh

sbom: ## write the CycloneDX list of what is in the binary: target/sbom.cdx.json
	@scripts/sbom.sh

reproducible: ## build the image's binary in two folders and compare the bytes
	@scripts/reproducible.sh

clean: ## stop the private PostgreSQL and remove what was built
	@scripts/postgres.sh remove
	@rm -rf target .dev .tools
