#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Print the path of a Python of one of the given versions (major.minor), the first that runs:
#   scripts/find_python.sh 3.11 3.13
# Looks on PATH and where pyenv and uv keep theirs, for one that can make virtual environments
# (Debian's needs the package python3-venv). Prints nothing and returns 1 when none is there.
for version in "$@"; do
    for candidate in "python$version" python3 python \
        "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$version".*/bin/python \
        "${XDG_DATA_HOME:-$HOME/.local/share}"/uv/python/cpython-"$version".*/bin/python; do
        found=$("$candidate" -I -c 'import ensurepip, sys; print(sys.executable, "%d.%d" % sys.version_info[:2])' \
            2>/dev/null) || continue
        [ "${found##* }" = "$version" ] && echo "${found% *}" && exit 0
    done
done
exit 1
