#!/bin/sh
# SPDX-License-Identifier: GPL-3.0-or-later
# Get the 3D models and the software OpenGL that the training views are rendered with.
# Debian or Ubuntu, as root; run `apt-get update` before.
# Usage: scripts/install_training_packages.sh [FOLDER, default out/training/packages]
set -eu

folder=${1:-out/training/packages}
libraries=/usr/share/sweethome3d/furniture

apt-get install -y --no-install-recommends sweethome3d-furniture libegl1 libgl1-mesa-dri
mkdir -p "$folder"
for library in BlendSwap-CC-0 BlendSwap-CC-BY KatorLegaz Reallusion Scopia; do
    ln -sf "$libraries/$library.sh3f" "$folder/$library.sh3f"
done

# Of the program itself only the archive with its own catalogue is needed, not Java.
temporary=$(mktemp -d)
trap 'rm -rf "$temporary"' EXIT
chmod 755 "$temporary"
(cd "$temporary" && apt-get download sweethome3d && dpkg-deb -x sweethome3d_*.deb unpacked)
cp "$temporary/unpacked/usr/share/sweethome3d/sweethome3d.jar" "$folder/sweethome3d.jar"
ls -lL "$folder"
