#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Get the 3D models and the software OpenGL that the training views are rendered with.
# Debian or Ubuntu, as root; run `apt-get update` before.
# Usage: scripts/install_training_packages.sh [--with-0ad] [FOLDER, default out/training/packages]
#   --with-0ad  also the models of the game 0 A.D.: 1.4 GB to download, 3.3 GB on disk
set -eu

with_0ad=
if [ "${1:-}" = --with-0ad ]; then
    with_0ad=yes
    shift
fi
folder=${1:-out/training/packages}
libraries=/usr/share/sweethome3d/furniture

apt-get install -y --no-install-recommends sweethome3d-furniture libegl1 libgl1-mesa-dri
mkdir -p "$folder"
for library in BlendSwap-CC-0 BlendSwap-CC-BY KatorLegaz Reallusion Scopia; do
    ln -sf "$libraries/$library.sh3f" "$folder/$library.sh3f"
done

# Of the following packages only one archive each is needed, not the programs.
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
chmod 755 "$temporary"
(cd "$temporary" && apt-get download sweethome3d && dpkg-deb -x sweethome3d_*.deb unpacked)
cp "$temporary/unpacked/usr/share/sweethome3d/sweethome3d.jar" "$folder/sweethome3d.jar"

# Wheels are zip archives: they are read as they are, never installed.
python3 -m pip download --no-deps --only-binary :all: --dest "$folder" \
    miniworld==2.1.0 robosuite==1.5.2

if [ -n "$with_0ad" ]; then
    (cd "$temporary" && apt-get download 0ad-data)
    dpkg-deb --fsys-tarfile "$temporary"/0ad-data_*.deb |
        tar -xO ./usr/share/games/0ad/mods/public/public.zip > "$folder/0ad-public.zip"
fi
ls -lL "$folder"
