# Needs Python 3.11 or newer and make. Everything else goes into .venv, at the versions in constraints.txt.
# Stamp files in .venv/stamps remember what is installed; `make clean` forgets it all.

PYTHON ?= python3
ARGS ?=

BIN := .venv/bin
STAMPS := .venv/stamps
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check -c constraints.txt
INSTALL := $(PIP) --build-constraint constraints.txt
PLUGINS := $(patsubst plugins/%/pyproject.toml,%,$(wildcard plugins/*/pyproject.toml))

.PHONY: help demo test soak soak-exchange soak-book native-checks torture mutation peers lint types layers docs reference check clean
.NOTPARALLEL:
.SECONDEXPANSION:

help:
	@echo "make demo [ARGS='--hours 3']   the crash of March 2020 through a whole exchange"
	@echo "make test [ARGS='-k funding']  every test, perpkit's and the plugins'"
	@echo "make lint | types | layers     ruff | mypy | import-linter"
	@echo "make docs                      build the documentation into site/"
	@echo "make reference                 write the reference pages that are made from the code"
	@echo "make soak                      soak-exchange and soak-book, one after the other: hours"
	@echo "make soak-exchange [ARGS='--seeds 40']  every command on seeded exchanges under faults: 20 million over 2,000 seeds"
	@echo "make soak-book                 10 million random commands, the native book beside the reference"
	@echo "make torture                   a million cuts, 100,000 flipped bits, 1,000 kills"
	@echo "make native-checks [ARGS=overflow]  the native book, trapping overflow and watching every access to memory"
	@echo "make mutation                  which changes to the money modules no test notices"
	@echo "make peers [ARGS='--write-docs']  order books that pip can install, on the same messages"
	@echo "make check                     lint, types, layers, docs, test"
	@echo "make clean                     remove .venv and site/"

demo: $(STAMPS)/demo
	$(BIN)/perpkit demo $(ARGS)

test: $(STAMPS)/test $(PLUGINS:%=$(STAMPS)/plugin-%)
	@for name in $(PLUGINS); do \
	  [ -e $(STAMPS)/plugin-$$name ] || { unbuilt="$$unbuilt $$name"; ignore="$$ignore --ignore=plugins/$$name"; }; \
	done; \
	[ -z "$$unbuilt" ] || echo "plugins that could not be built:$$unbuilt (see $(STAMPS)/plugin-*.log)"; \
	set -x; $(BIN)/python -m pytest -q -n auto --dist loadfile $$ignore $(ARGS)

soak: soak-exchange soak-book

soak-exchange: $(STAMPS)/test
	$(BIN)/python -m tests.simulation.run $(ARGS)

soak-book: $(STAMPS)/plugin-perpkit-fast
	@[ -e $(STAMPS)/plugin-perpkit-fast ] || { echo "perpkit-fast could not be built: see $(STAMPS)/plugin-perpkit-fast.log"; exit 1; }
	PERPKIT_FAST_COMMANDS=10000000 $(BIN)/python -m pytest -q -n auto plugins/perpkit-fast/tests/test_same_to_the_bit.py

native-checks: $(STAMPS)/test
	for check in $(or $(ARGS),overflow memory); do plugins/perpkit-fast/checks.sh $$check $(abspath $(BIN))/python || exit 1; done

torture: $(STAMPS)/test
	PERPKIT_CUTS=1000000 PERPKIT_FLIPS=100000 PERPKIT_REPLAYS=1000 PERPKIT_SNAPSHOTS=1000 PERPKIT_KILLS=1000 \
	  $(BIN)/python -m pytest -q -s tests/integration/test_journal_crash.py tests/integration/test_journal_file.py $(ARGS)

mutation: $(STAMPS)/mutation
	$(BIN)/python tests/mutation/run.py $(ARGS)

peers: $(STAMPS)/demo
	$(BIN)/python benchmarks/peers/run.py $(ARGS)

lint: $(STAMPS)/lint
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMPS)/lint
	$(BIN)/mypy

layers: $(STAMPS)/lint
	$(BIN)/lint-imports

docs: $(STAMPS)/docs
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

reference: $(STAMPS)/test
	$(BIN)/python tests/docs/test_port_pages.py
	$(BIN)/python tests/docs/test_custody_page.py

check: lint types layers docs test

clean:
	rm -rf .venv site

# What each command needs; a stamp is renewed when pyproject.toml or constraints.txt changes.
$(STAMPS)/demo: WANT := -e '.[cli,report]'
$(STAMPS)/test: WANT := -e '.[cli,report,testing]' --group test
$(STAMPS)/lint: WANT := -e '.[cli,report,testing,otel,prometheus]' --group lint
$(STAMPS)/docs: WANT := --group docs
$(STAMPS)/mutation: WANT := -e '.[cli,report,testing]' --group mutation

$(STAMPS)/demo $(STAMPS)/test $(STAMPS)/lint $(STAMPS)/docs $(STAMPS)/mutation: pyproject.toml $(STAMPS)/venv
	@echo "installing what 'make $(@F)' needs into .venv"
	@$(INSTALL) $(WANT)
	@touch $@

$(STAMPS)/venv: constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "perpkit needs Python 3.11 or newer: make PYTHON=/path/to/python3.11"; exit 1; }
	@$(PYTHON) -m venv .venv
	@$(PIP) pip
	@mkdir -p $(@D) && touch $@

# A plugin that cannot be built (no compiler, or no wheel of what it is tested with) leaves a log instead of a stamp; `make test` names it and goes on.
$(STAMPS)/plugin-%: plugins/%/pyproject.toml $$(wildcard plugins/$$*/setup.py plugins/$$*/src/*/*.p?? plugins/$$*/src/*/*.h) $(STAMPS)/test
	@echo "installing plugins/$*"
	@rm -f $@; if $(INSTALL) -e 'plugins/$*[test]' >$@.log 2>&1; then touch $@; fi
