#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Run the add-on's tests on other Blenders that pip has for Python 3.11, each in an environment of its
# own, .venv-bpy<version>, about 1 GB, which is kept:
#   ONE2345_PYTHON=<python of the worker> scripts/test_addon_on.sh 4.2 5.0
set -eu
cd "$(dirname "$0")/.."

base=$(scripts/find_python.sh 3.11) || {
    echo "error: no Python 3.11 found; Blender ${*} as a Python module needs it" >&2
    echo "hint: install Python 3.11" >&2
    exit 1
}
pytest=$(sed -nE 's/^ *"(pytest==[^"]*)",/\1/p' pyproject.toml)
numpy=$(sed -nE 's/^dependencies = \["(numpy[^"]*)"\]/\1/p' pyproject.toml)
for version in "$@"; do
    environment=.venv-bpy$version
    if [ ! -e "$environment/.complete" ]; then
        echo "building $environment"
        "$base" -m venv --clear "$environment"
        "$environment/bin/python" -m pip install --quiet --disable-pip-version-check \
            "bpy==$version.*" "$pytest" "$numpy"
        touch "$environment/.complete"
    fi
    echo "the add-on on Blender $version"
    "$environment/bin/python" -m pytest tests/addon
done
