# Each target sets up what it needs, on first use and whenever pyproject.toml or constraints.txt change.
SHELL := /bin/sh
PYTHON := .venv/bin/python
# What is installed: for those who run, look at and operate runs, and for those who test and change the code.
RUN := .venv/.installed
DEV := .venv/.installed-dev
# Images and CI set it. Here it would compile all modules anew at each start of a Python, which takes
# more than half of a start, and the tests start hundreds.
unexport PYTHONDONTWRITEBYTECODE
SAMPLE ?= sample
SAMPLE_SHAPE ?= 128 384 384

.DEFAULT_GOAL := help
.PHONY: help venv sample run up down health db-clean test test-long test-browser test-docker test-e2e test-slurm wheel image image-airflow lint format bench pictures constraints clean

help: ## show this
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

venv: $(RUN) ## set up .venv (the other targets do it by themselves)

# A stamp is written only after a complete install, so an interrupted one is taken up again.
_INSTALL := pyproject.toml constraints.txt scripts/bootstrap.sh scripts/install.py
$(RUN): $(_INSTALL)
	@sh scripts/bootstrap.sh compute,mesh,view,airflow
	@touch $@

$(DEV): $(_INSTALL)
	@sh scripts/bootstrap.sh compute,mesh,view,airflow,docker,dev
	@touch $(RUN) $@

# Even the imports of a fresh installation take seconds, in which a command can't say anything itself.
_WATCHED = $(PYTHON) -m scripts.watched

sample: $(SAMPLE)/volume.yaml ## make the sample volume in sample/

$(SAMPLE)/volume.yaml: | $(RUN)
	@$(_WATCHED) "making the sample" $(PYTHON) -m magneton_tasks sample $(SAMPLE) --shape $(SAMPLE_SHAPE)

run: $(SAMPLE)/volume.yaml $(RUN) ## segment the sample with its Airflow DAG, in process, and sum up
	@$(_WATCHED) "running the DAG" $(PYTHON) -m magneton_tasks.airflow.service.run_dag $(SAMPLE)/volume.yaml
	@$(_WATCHED) "summing up" $(PYTHON) -m magneton_tasks.cli.run.summary $(SAMPLE)/volume.yaml --truth $(SAMPLE)/truth
	@echo "To see it in the Airflow web interface:  make up"

# An address with a password is refused before anything starts, for whatever starts would show it.
_ADDRESS = $(or $(value DB),$(value MAGNETON_AIRFLOW_DATABASE))
_LOGIN = $(firstword $(subst @, ,$(word 2,$(subst ://, ,$(_ADDRESS)))))
ifneq ($(filter up,$(MAKECMDGOALS)),)
ifneq ($(and $(findstring @,$(_ADDRESS)),$(findstring :,$(_LOGIN)))$(findstring password=,$(_ADDRESS)),)
$(error The address of Airflow's database holds a password, which every process would show. Leave it out: make up DB=postgresql://USER@HOST/NAME asks for it on a terminal, and keeps it in Airflow's home; without a terminal ~/.pgpass has it. If others use this machine, change the password: they could read it)
endif
endif
# By way of the environment: an address may hold what a shell would take for its own.
ifdef DB
up: export MAGNETON_AIRFLOW_DATABASE := $(value DB)
endif
up: $(RUN) ## start Airflow on this machine, with SQLite or DB=postgresql://...; prints address and password
	@$(PYTHON) scripts/airflow_up.py

down: ## stop what `make up` started
	@if [ -x $(PYTHON) ]; then $(PYTHON) scripts/airflow_down.py; else echo "nothing is set up"; fi

health: $(RUN) ## say whether Airflow is well, and what isn't
	@$(PYTHON) scripts/airflow_health.py

db-clean: export KEEP_DAYS ?= 90
db-clean: $(RUN) ## remove runs and events older than KEEP_DAYS (90) from Airflow's database
	@$(PYTHON) scripts/airflow_db_clean.py

# By file: what the tests of a file share is made once. Those of DAGs come by themselves, because Airflow
# doubles the memory of a process, and with it the cost of each fork, of which the other tests make thousands.
# They run beside the others, in one process, and are shown after them. Four for the others: a third of the
# time of theirs is waiting. In the order of their names, because few files of the last rooms take long.
# What is compiled before them, neither compiles.
_TEST = $(PYTHON) -m pytest -m "not cluster and not browser and not e2e and not long"
_OTHERS = tests/browser tests/cluster tests/e2e

test: $(DEV) ## run all tests that need neither root nor a cluster
	@$(PYTHON) -m magneton_tasks warm || :
	@code=0; dags=$$(mktemp); trap 'rm -f "$$dags"' EXIT; trap 'kill $$! 2>/dev/null; exit 130' INT TERM; \
	$(_TEST) tests/airflow >"$$dags" 2>&1 & \
	$(_TEST) -n 4 --dist loadfile --no-loadscope-reorder tests $(_OTHERS:%=--ignore=%) --ignore=tests/airflow || code=$$?; \
	echo "tests/airflow, which ran beside these:"; \
	wait $$! || code=$$?; \
	cat "$$dags"; \
	exit $$code

test-long: $(DEV) ## what takes minutes: grids of thousands of blocks, property tests on thousands of examples
	@$(PYTHON) -m pytest -n 2 --maxschedchunk 1 -m "long or hypothesis" --hypothesis-profile long \
		tests/stages tests/property tests/kernels tests/config tests/formats tests/work \
		tests/outcome tests/plan tests/runners

test-browser: $(DEV) ## tests in a real browser; needs Chromium (Debian: apt-get install chromium)
	@$(PYTHON) -m pytest -m browser

test-docker: $(DEV) ## tests on a real Docker engine; where none answers: Debian and root, it brings one up
	@tests/cluster/docker/test.sh

test-slurm: $(DEV) ## tests on a real Slurm cluster, which it brings up: Debian and root
	@tests/cluster/slurm/test.sh

test-e2e: $(DEV) ## tests that drive a real Airflow; needs Chromium and PostgreSQL (or Debian and root)
	@$(PYTHON) -m pytest -n 2 --maxschedchunk 1 -m e2e tests/e2e

wheel: ## make the wheel in dist/, which is installed elsewhere without the checkout
	@sh scripts/bootstrap.sh --wheel

image: ## build the worker image magneton-tasks; needs a Docker engine
	@scripts/image.sh

image-airflow: ## build Airflow's image magneton-airflow, for docker/compose.yaml; needs a Docker engine
	@scripts/image.sh airflow

lint: $(DEV) ## ruff, mypy, import-linter, biome, shellcheck, hadolint
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports
	.venv/bin/biome check --error-on-warnings .
	@! git grep -nE '^.{111}' -- '*.js' || { echo "lines of scripts have at most 110 columns"; exit 1; }
	.venv/bin/shellcheck scripts/airflow scripts/*.sh docker/*.sh tests/cluster/*/*.sh tests/e2e/*.sh .ci/run
	.venv/bin/hadolint Dockerfile docker/Dockerfile.airflow

format: $(DEV) ## let ruff and biome mend layout and import order
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .
	.venv/bin/biome check --write .

bench: $(DEV) ## measure; writes a table and a JSON to benchmarks/results/
	@$(PYTHON) -m benchmarks

pictures: $(DEV) ## remake the pictures in docs/; needs Chromium
	@$(PYTHON) scripts/make_pictures.py
	@$(PYTHON) -m scripts.airflow_pictures
	@$(PYTHON) -m scripts.block_map_pictures

constraints: ## pin anew what is installed in a fresh .venv (for maintainers)
	@sh scripts/constraints.sh

clean: ## remove .venv, caches, the sample and Airflow's home (stop it first: make down)
	rm -rf .venv .venv.lock airflow_home sample .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build dist
