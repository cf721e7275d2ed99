# SPDX-License-Identifier: GPL-3.0-or-later
# Every command of the project. Each sets up what it needs; CI runs these targets and nothing else.
.DEFAULT_GOAL := help
.PHONY: help system-packages setup setup-bpy52 locks check lint extension test test-addon-bpy52 \
	test-addon-others gui-blender test-gui bench-gui fuzz test-gpu demo bench clean

VENV := .venv
PYTHON := $(VENV)/bin/python
VENV_BPY52 := .venv-bpy52
PICTURES := docs/demo
INSTALL = vendor_install.py --target
# two processes, each computing on one core
PYTEST_IN_PARALLEL = OMP_NUM_THREADS=1 $(1) -m pytest --numprocesses 2 --dist worksteal

help:  ## list the commands
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 20

system-packages:  ## libraries that Blender as a Python module needs on Linux (apt, as root)
	@scripts/install_system_packages.sh

setup: system-packages  ## build .venv: everything that runs, trains and tests (Python 3.11 or newer)
	@base=$$(scripts/find_python.sh 3.11 3.13 3.12) || \
		{ echo "error: no Python 3.11, 3.12 or 3.13 found" >&2; \
		  echo "hint: install Python 3.11, the one that Blender 4.5 uses" >&2; exit 1; }; \
	"$$base" $(INSTALL) $(VENV) --extras pipeline,train,dev --python "$$base"

setup-bpy52:  ## build .venv-bpy52 for the add-on's tests on Blender 5.2, where Python 3.13 is found
	@if base=$$(scripts/find_python.sh 3.13); then \
		"$$base" $(INSTALL) $(VENV_BPY52) --extras dev --python "$$base"; \
	else echo "no Python 3.13: the add-on is not tested on Blender 5.2"; fi

locks:  ## write locks/ anew from the requirements (needs uv and the network)
	$(PYTHON) scripts/lock_requirements.py

check: lint extension  ## everything that must hold before a commit
	$(call PYTEST_IN_PARALLEL,$(PYTHON))

lint: setup  ## format, lint, types and the walls between the rooms
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy -p one2345_blender
	$(VENV)/bin/lint-imports --no-logo

extension: setup  ## build the archive that Blender installs, in dist/
	$(PYTHON) scripts/build_extension.py --output-dir dist

test: setup test-addon-bpy52  ## the whole test suite, the add-on's on Blender 4.5 and 5.2
	$(call PYTEST_IN_PARALLEL,$(PYTHON))

test-addon-bpy52: setup setup-bpy52
	@if [ -f $(VENV_BPY52)/.complete ]; then \
		ONE2345_PYTHON=$(CURDIR)/$(PYTHON) $(call PYTEST_IN_PARALLEL,$(VENV_BPY52)/bin/python) tests/addon; fi

test-addon-others: setup  ## the add-on's tests on Blender 4.2 LTS and 5.0, for which pip needs Python 3.11
	ONE2345_PYTHON=$(CURDIR)/$(PYTHON) scripts/test_addon_on.sh 4.2 5.0

gui-blender:  ## build Debian's Blender and an X server for test-gui, once, in the user's cache (root)
	@scripts/build_gui_blender.sh

test-gui: setup gui-blender  ## the built extension in a real Blender window; screenshots in out/gui
	ONE2345_GUI_ROOT=$$(scripts/build_gui_blender.sh) $(PYTHON) -m pytest tests/gui

bench-gui: setup gui-blender  ## stalls, cancel times and processes left, measured in a real Blender window
	ONE2345_GUI_ROOT=$$(scripts/build_gui_blender.sh) $(PYTHON) benchmarks/addon_window.py

fuzz: setup  ## 100,000 damaged messages, jobs, camera files, meshes and records for the decoders
	ONE2345_FUZZ_CASES=100000 $(PYTHON) -m pytest -p no:cacheprovider \
		tests/contracts/test_hostile_input.py tests/installation/test_weights_record.py \
		tests/pipeline/test_hostile_pictures.py

test-gpu: setup  ## the tests that need a CUDA device
	$(PYTHON) -m pytest -m gpu

demo: setup  ## a photo becomes out/demo/{mesh.glb,scene.blend,preview.png,views.png,report.json}
	$(PYTHON) scripts/demo.py

bench: setup  ## the reconstruction against its plain formulas; then a folder's pictures: make bench PICTURES=DIR
	$(PYTHON) -m benchmarks.reconstruction
	$(PYTHON) -m one2345_blender.evaluation pictures $(PICTURES) --output out/bench

clean:  ## remove what was built, the environments too
	rm -rf dist build .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	rm -rf $(VENV) .venv-bpy*
