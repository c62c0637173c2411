# make run    set up, run the alpha sweep on the embedded corpus, say where its report is
# make test   set up, run the tests
# make slow   the tests that take minutes
# make lint   linters and type check
# make versions   a part of the tests under each other version of Python there is

# An active environment is used as it is; otherwise .venv is made with the first Python
# of at least 3.11.
ACTIVE := $(or $(VIRTUAL_ENV),$(if $(filter-out base,$(CONDA_DEFAULT_ENV)),$(CONDA_PREFIX)))
VENV := $(or $(ACTIVE),$(CURDIR)/.venv)
PY := $(VENV)/bin/python
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11 python; do \
	$$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& echo $$p && break; done)
BUILT_FROM := setup.py $(wildcard ifusion/*/*.cc ifusion/*/*.h)
WORKDIR ?= runs/synthetic-$(shell date +%Y%m%d-%H%M%S)

.PHONY: run test slow lint versions install install-test install-dev clean
.DELETE_ON_ERROR:

run: install
	$(PY) experiments/sweep.py --config=configs/synthetic.py --workdir=$(WORKDIR)

test: install-test
	$(PY) -m pytest

slow: install-test
	$(PY) -m pytest -m slow

lint: install-dev
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

# from the lock file, into an environment of its own
versions: install-test
	@export PYENV_VERSION="$$(pyenv versions --bare 2>/dev/null | paste -sd: -)"; \
	for v in 3.11 3.12 3.13; do \
	    ! $(PY) -c "import sys; sys.exit(sys.version.startswith('$$v.'))" && continue; \
	    python$$v -c '' 2>/dev/null || { echo "Python $$v is not here"; continue; }; \
	    test $$v != 3.11 && lock=3.12 || lock=3.11; env=.venv-$$v; \
	    { test -x $$env/bin/python || python$$v -m venv $$env; } && \
	    $$env/bin/python -m pip install --quiet -r requirements/python$$lock.txt && \
	    $$env/bin/python -m pip install --quiet --no-deps --editable . && \
	    echo "Python $$v" && \
	    $$env/bin/python -m pytest tests/test_startup.py tests/test_core.py \
	        tests/experiment/test_versions.py || exit 1; \
	done

install: $(VENV)/.ifusion-installed
install-test: $(VENV)/.ifusion-installed-test
install-dev: $(VENV)/.ifusion-installed-dev

$(PY):
	@test -n "$(PYTHON)" || { echo "no Python >= 3.11 found; name one: make PYTHON=..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ifusion-installed: $(BUILT_FROM) | $(PY)
	@echo "Installing ifusion and what it needs into $(VENV); this takes a minute or two."
	$(PY) -m pip install --quiet --editable .
	@touch $@

$(VENV)/.ifusion-installed-%: $(BUILT_FROM) | $(PY)
	@echo "Installing ifusion and what '$*' needs into $(VENV); this takes a minute or two."
	$(PY) -m pip install --quiet --editable ".[$*]"
	@touch $@ $(VENV)/.ifusion-installed

clean:
	rm -rf .venv .venv-3.* build *.egg-info .mypy_cache .pytest_cache .ruff_cache
