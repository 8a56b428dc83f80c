# Everything here works on a machine with make, python3 (3.11 to 3.13) and apt: what is missing is set up first.
# The work is done in deploy/local (Python); a variable after a target, such as GENERATORS=4, is passed to it.

PYTHON ?= python3
VENV := .venv/bin
LOCAL := $(VENV)/python deploy/local
UV := .local/uv/bin/uv

# As it was typed: a prompt may hold a dollar sign.
ifdef PROMPT
export override PROMPT := $(value PROMPT)
endif

.DEFAULT_GOAL := help
.PHONY: help setup demo up down status logs simulator test check check-style check-types check-imports check-protos \
        protos lock clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?(.*)$$/\1\t\2/' | while IFS=$$(printf '\t') \
	    read -r name text; do printf '  \033[1mmake %-10s\033[0m %s\n' "$$name" "$$text"; done
	@echo
	@echo '  Ports are settings: make up GATEWAY_PORT=9000 (all of them: deploy/local/ports.py).'
	@echo '  With REPLICATE_API_TOKEN set, generators work against Replicate instead of the simulator.'

setup:  ## Install what is missing: uv, the Python packages, PostgreSQL, RabbitMQ
	@$(PYTHON) deploy/local/bootstrap.py

demo: setup  ## Start the system and have one picture made: PROMPT="a lighthouse at dusk" MODEL=owner/name
	@$(LOCAL) demo

up: setup  ## Start the system, or what of it does not run; GENERATORS=4 scales
	@$(LOCAL) up

down:  ## End everything that runs; the data stays
	@if [ -x $(VENV)/python ]; then $(LOCAL) down; else echo 'nothing runs'; fi

status: setup  ## Show what runs, on which ports, and where it logs
	@$(LOCAL) status

logs:  ## Follow the logs of all parts
	@ls .local/log/*.log >/dev/null 2>&1 || { echo 'nothing was logged yet: make up starts the system' >&2; exit 1; }
	@tail -n 10 -F .local/log/*.log

simulator: setup  ## Run the simulator of Replicate's API alone, in the foreground
	@$(LOCAL) simulator

test: setup  ## Run every test that needs no cluster, on servers of its own; ARGS="-k name" is for pytest
	$(VENV)/python -m pytest $(ARGS)

check: check-style check-types check-imports check-protos  ## Lint, types, import rules, protos and generated code

check-style: setup
	$(VENV)/ruff check .
	$(VENV)/ruff format --check .

check-types: setup
	$(VENV)/mypy
	MYPYPATH=deploy/local $(VENV)/mypy deploy/local

check-imports: setup
	PYTHONPATH=services:protos/gen $(VENV)/lint-imports

check-protos: setup
	cd protos && ../$(VENV)/buf lint && ../$(VENV)/buf format --diff --exit-code
	if [ -f protos/released.binpb ]; then cd protos && ../$(VENV)/buf breaking --against released.binpb; fi
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(MAKE) --no-print-directory protos GENERATED="$$fresh" \
	    && diff -r --exclude=__pycache__ "$$fresh" protos/gen \
	    || { echo 'protos/gen is not what the protos generate: run make protos' >&2; exit 1; }

GENERATED := protos/gen
protos: setup  ## Generate protos/gen from the protos
	PATH="$(CURDIR)/$(VENV):$$PATH" $(VENV)/python -m grpc_tools.protoc -I protos --python_out=$(GENERATED) \
	    --grpc_python_out=$(GENERATED) --mypy_out=$(GENERATED) --mypy_grpc_out=$(GENERATED) \
	    $$(cd protos && find mediagen -name '*.proto' | sort)

# One resolution for all, so that every service runs the versions that the tests ran; UPGRADE=1 takes the newest.
COMPILE = $(UV) pip compile -q --universal --python-version 3.11 --no-annotate --custom-compile-command "make lock" \
          $(if $(UPGRADE),--upgrade)
lock: setup  ## Lock requirements/*.txt to pyproject.toml; UPGRADE=1 takes newer versions
	@all=$$(mktemp) && trap 'rm -f "$$all"' EXIT && cp requirements/dev.txt "$$all" \
	&& $(COMPILE) pyproject.toml --all-extras --no-generate-hashes -o "$$all" \
	&& for service in gateway generator jobs simulator; do \
	    $(COMPILE) pyproject.toml --extra $$service -c "$$all" --generate-hashes -o requirements/$$service.txt || exit 1; \
	done \
	&& $(COMPILE) pyproject.toml --all-extras -c "$$all" --generate-hashes -o requirements/dev.txt \
	&& echo 'uv>=0.13' | $(COMPILE) - --generate-hashes -o requirements/uv.txt

clean:  ## End the system and delete its data, passwords and logs
	@if [ -x $(VENV)/python ]; then $(LOCAL) clean; fi
