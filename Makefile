# Thin: each target is one script. `make help` lists them.
.DEFAULT_GOAL := help
.PHONY: help run test check image bench bench-quick bench-micro bench-plots allocators clean
.PHONY: faults abuse soak overload growth reliability-tables

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

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

faults: ## break everything under load, ROUNDS=20 times, and compare the ledger with the table
	@scripts/reliability.sh faults

abuse: ## crowds of slow, silent and greedy callers beside others that pay
	@scripts/reliability.sh abuse

soak: ## MINUTES=30 at 1,000 payments a second with faults at random
	@scripts/reliability.sh soak

overload: ## 3 and 10 times what a small set-up carries, then more than the processor does
	@scripts/reliability.sh overload

growth: ## payments into a table of ten million rows, and beside prune
	@scripts/reliability.sh growth

reliability-tables: ## write the tables of docs/RELIABILITY.md
	@scripts/reliability.sh tables

clean: ## stop the private PostgreSQL and remove what was built
	@scripts/postgres.sh remove
	@rm -rf target .dev .tools
