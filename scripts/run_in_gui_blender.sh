#!/bin/bash
# SPDX-License-Identifier: GPL-3.0-or-later
# Run a command inside the folder tree of build_gui_blender.sh, as root:
#   scripts/run_in_gui_blender.sh ROOT [--read PATH]… [--write PATH]… COMMAND…
# The named files and folders are seen there under their own names. The command gets an empty /tmp
# and HOME, and no network. All mounts vanish with it; processes keep the numbers they have outside.
# Variables whose names begin with ONE2345_ are passed on.
set -euo pipefail
[ $# -ge 2 ] || {
    sed -n '3,6s/^# //p' "$0" >&2
    exit 2
}
exec unshare --mount --net --propagation private bash -euc '
    root=$1
    shift
    mountpoint -q "$root/proc" || mount -t proc proc "$root/proc"
    mkdir -p "$root/dev/shm"
    mount -t tmpfs tmpfs "$root/dev/shm"
    mount -t tmpfs tmpfs "$root/tmp"
    while [[ ${1:-} == --read || ${1:-} == --write ]]; do
        if [ -d "$2" ]; then
            mkdir -p "$root$2"
        else
            mkdir -p "$(dirname "$root$2")"
            touch "$root$2"
        fi
        mount --bind "$2" "$root$2"
        [ "$1" = --write ] || mount -o remount,bind,ro "$root$2"
        shift 2
    done
    mkdir -p -m 700 "$root/tmp/home"
    mkdir -m 1777 "$root/tmp/.X11-unix"
    mapfile -t settings < <(env | grep ^ONE2345_ || true)
    exec chroot "$root" env -i "${settings[@]}" PATH=/usr/bin:/bin:/usr/sbin:/sbin LC_ALL=C.UTF-8 \
        HOME=/tmp/home XDG_RUNTIME_DIR=/tmp/home BLENDER_USER_RESOURCES=/tmp/home/blender \
        LIBGL_ALWAYS_SOFTWARE=1 "$@"
' bash "$@"
