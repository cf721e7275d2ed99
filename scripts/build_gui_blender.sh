#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Build a folder tree with Debian's Blender, Xvfb and Mesa's software OpenGL, in which the add-on is
# tested in a real window. Linux, as root; about 5 minutes and 1.2 GB the first time, instant afterwards.
#   scripts/build_gui_blender.sh [SUITE…]
# Takes the first suite that can be installed and whose Blender is new enough for the extension; by
# default sid, once more sid, which changes while one reads it, and trixie.
# Prints the folder: ONE2345_GUI_ROOT, else one2345-gui in the user's cache.
set -euo pipefail

root=${ONE2345_GUI_ROOT:-${XDG_CACHE_HOME:-$HOME/.cache}/one2345-gui}
suites=${*:-sid sid trixie}
packages="blender python3-numpy python3-requests python3-cattr python3-zstandard
    xvfb xauth imagemagick libgl1 libegl1 libglx-mesa0 libegl-mesa0 libgl1-mesa-dri"
recipe="$suites: $(echo $packages)"
oldest=$(sed -nE 's/^blender_version_min = "(.*)"/\1/p' "$(dirname "$0")/../blender_manifest.toml")

fail() {
    echo "error: $1" >&2
    echo "hint: $2" >&2
    exit 1
}

is_ready() {
    [ -e "$root/.ready" ] && [ "$(cat "$root/.ready")" = "$recipe" ]
}

is_ready && { echo "$root"; exit 0; }
[ "$(uname -s)" = Linux ] || fail "the Blender window of the tests is built on Linux alone" \
    "run the target in a Linux machine or container"
[ "$(id -u)" -eq 0 ] || fail "building the Blender window of the tests needs root, for debootstrap and chroot" \
    "sudo ONE2345_GUI_ROOT=$root make gui-blender"
case $root in
    /*/*) ;;
    *) fail "ONE2345_GUI_ROOT is $root" "name an absolute path that has a parent other than /" ;;
esac
if ! command -v debootstrap >/dev/null; then
    command -v apt-get >/dev/null || fail "debootstrap is missing" "install it with your package manager"
    echo "installing debootstrap" >&2
    apt-get update -qq >&2
    DEBIAN_FRONTEND=noninteractive apt-get install -qq --no-install-recommends \
        debootstrap debian-archive-keyring >&2
fi
mkdir -p "$(dirname "$root")"
exec 9>"$root.lock"
flock 9 # a second call waits here for the first
is_ready && { echo "$root"; exit 0; }

# The machine's own Debian mirror, if it has one; otherwise debootstrap's.
mirror=$(cat /etc/apt/sources.list /etc/apt/sources.list.d/* 2>/dev/null |
    sed -nE 's/^(URIs:|deb( \[[^]]*\])?) +([^ ]+\/debian)\/?( .*)?$/\3/p' | sed -n 1p || true)
export DEBIAN_FRONTEND=noninteractive LC_ALL=C

build() { # SUITE
    rm -rf --one-file-system "$root"
    mkdir -p "$root"
    # shellcheck disable=SC2086 # no mirror: no argument
    timeout 15m debootstrap --variant=minbase --keyring=/usr/share/keyrings/debian-archive-keyring.gpg \
        "$1" "$root" ${mirror:-} || return 1
    printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d" # start no services
    chmod +x "$root/usr/sbin/policy-rc.d"
    cat >"$root/etc/apt/apt.conf.d/99one2345" <<'CONFIGURATION'
Acquire::Languages "none";
Acquire::Retries "5";
Acquire::http::Timeout "60";
Acquire::Check-Valid-Until "false";
Acquire::Check-Date "false";
APT::Install-Recommends "false";
Dpkg::Use-Pty "0";
DPkg::Options:: "--force-unsafe-io";
CONFIGURATION
    printf 'path-exclude /usr/share/%s/*\n' doc man locale icons >"$root/etc/dpkg/dpkg.cfg.d/99one2345"
    cp /etc/resolv.conf /etc/hosts "$root/etc/"
    ln -sf /proc/self/mounts "$root/etc/mtab"
    timeout 5m chroot "$root" apt-get update -qq || return 1
    # shellcheck disable=SC2086 # a list of words
    timeout 15m chroot "$root" apt-get install -qq $packages || return 1
    chroot "$root" apt-get clean
    rm -rf "$root"/var/lib/apt/lists/*
    local version
    version=$(chroot "$root" blender --version | sed -nE 's/^Blender ([0-9.]+).*/\1/p') || return 1
    if [ "$(printf '%s\n' "$oldest" "$version" | sort -V | head -n 1)" != "$oldest" ]; then
        echo "Blender $version is older than $oldest, which the extension needs"
        return 1
    fi
    echo "Blender $version"
}

log=$root.log
: >"$log"
for suite in $suites; do
    echo "building $root from Debian $suite; the log is $log" >&2
    if (build "$suite") >>"$log" 2>&1 9>&-; then
        echo "$recipe" >"$root/.ready"
        tail -n 1 "$log" >&2
        echo "$root"
        exit 0
    fi
    echo "warning: Debian $suite could not be installed: $(tail -n 1 "$log")" >&2
done
fail "no Blender with a window could be built; tried Debian $suites" "the end of $log says why"
