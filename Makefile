# Everything a person types. `make help` lists it.
.DEFAULT_GOAL := help
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest

.PHONY: help demo up test system faults simulate judging check bench traffic restored install install-dev

help: ## list these targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r name text; do printf '  make %-10s %s\n' "$$name" "$$text"; done

demo: install ## a whole story on this machine: a good version, a bad one, and its rollback
	@$(BIN)/aureus demo

up: install ## run Aureus here, with PostgreSQL and Valkey of its own
	@exec $(BIN)/aureus up

test: install-dev ## all tests that need nothing but this machine
	@code=0; \
	: "the simulator takes every core by itself; many tests wait for a host or a lock, so four share two cores;"; \
	: "real process trees have deadlines, and run one after another"; \
	$(PYTEST) tests/engine $(ARGS) || code=1; \
	$(PYTEST) -m "not system and not flow" --ignore=tests/engine -n 4 --dist=worksteal $(ARGS) || code=1; \
	$(PYTEST) -m flow $(ARGS) || code=1; \
	exit $$code

system: install-dev ## tests against sshd, nginx and HAProxy from the system's packages
	@$(PYTEST) -m system $(ARGS)

faults: install-dev ## break the real tree at random instants (DEPLOYMENTS=200 SEED=7)
	@$(BIN)/python -m tests.faults --deployments $(or $(DEPLOYMENTS),200) --seed $(or $(SEED),7) $(ARGS)

traffic: install-dev ## every strategy and its rollback under load, on real balancers (REQUESTS=100000 BALANCERS="haproxy caddy")
	@$(BIN)/python -m tests.traffic --requests $(or $(REQUESTS),100000) $(BALANCERS)

restored: install-dev ## ship a version that answers nothing but errors, ten times, and time its end (FAULTS=10 BALANCERS=haproxy)
	@$(BIN)/python -m tests.traffic --faults $(or $(FAULTS),10) $(or $(BALANCERS),haproxy)

simulate: install-dev ## random worlds over the pure core (WORLDS=100000 SEED=7)
	@$(BIN)/python -m tests.engine.simulate --worlds $(or $(WORLDS),20000) --seed $(or $(SEED),1) $(ARGS)

bench: install-dev ## measure against ssh, tar and an empty Celery task; prints ratios
	@$(BIN)/python -m benchmarks $(ARGS)

judging: install-dev ## false rollbacks and time to detect, simulated; writes the table of docs/judging.md (ARGS="--seed 7")
	@$(BIN)/python -m benchmarks.judging --write $(ARGS)

check: install-dev ## format, lint, types, directions, shell
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy aureus releases health deployments tests
	$(BIN)/lint-imports
	$(BIN)/shellcheck .ci/run $$(git ls-files '*.sh')

install:
	@deploy/bootstrap.sh

install-dev:
	@deploy/bootstrap.sh dev
