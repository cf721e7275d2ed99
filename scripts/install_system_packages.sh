#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# System libraries that pip's bpy and off-screen OpenGL load on Linux. Quick when they are there;
# otherwise installs them with apt where it may, or says what is missing. Elsewhere: nothing to do.
set -eu
[ "$(uname -s)" = Linux ] || exit 0

# library:Debian package
wanted="
libX11.so.6:libx11-6 libXrender.so.1:libxrender1 libXfixes.so.3:libxfixes3 libXi.so.6:libxi6
libxkbcommon.so.0:libxkbcommon0 libSM.so.6:libsm6 libICE.so.6:libice6 libGL.so.1:libgl1
libEGL.so.1:libegl1 libEGL_mesa.so.0:libegl-mesa0 libGLX_mesa.so.0:libglx-mesa0
"
PATH="$PATH:/sbin:/usr/sbin"
present=$(ldconfig -p)
missing= packages=
for pair in $wanted; do
    library=${pair%%:*}
    case $present in *"$library"*) ;; *)
        missing="$missing $library"
        packages="$packages ${pair##*:}"
        ;;
    esac
done
[ -n "$missing" ] || exit 0

if ! command -v apt-get >/dev/null; then
    echo "error: these libraries are missing:$missing" >&2
    echo "hint: install them with your distribution's package manager and run the same again." >&2
    exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
    echo "error: these libraries are missing:$missing" >&2
    echo "hint: sudo apt-get install --no-install-recommends$packages" >&2
    exit 1
fi
echo "installing system packages:$packages"
export DEBIAN_FRONTEND=noninteractive
apt-get update -qq
# shellcheck disable=SC2086 # a list of words
apt-get install -qq --no-install-recommends $packages >/dev/null
