# SPDX-License-Identifier: GPL-3.0-or-later
"""A furniture library made here: a crate, the same crate lying on its back, and a sheet."""

from __future__ import annotations

import io
from pathlib import Path
from zipfile import ZipFile

from PIL import Image

from one2345_blender.training.libraries import LIBRARIES

LIBRARY = LIBRARIES[0]

CUBE_OBJ = """mtllib Crate.mtl
v 0 0 0\nv 2 0 0\nv 2 1 0\nv 0 1 0\nv 0 0 4\nv 2 0 4\nv 2 1 4\nv 0 1 4
vt 0 0\nvt 1 0\nvt 1 1\nvt 0 1
usemtl painted wood
f 5/1 6/2 7/3 8/4
usemtl plain
f 2 1 4 3\nf 1 5 8 4\nf 6 2 3 7\nf -5 -6 -2 -1\nf 1 2 6 5
usemtl ghost
f 1 3 7
"""
CUBE_MTL = """newmtl painted wood
Kd 0.02 0.02 0.02
map_Kd WOOD.png
newmtl plain
Kd 0.5 0.25 1.0
newmtl ghost
d 0.01
"""
ENTRY = """
id#{n}=Somebody#{stem}
name#{n}=Caf\\u00e9 crate
category#{n}=Kitchen
model#{n}=/models/{stem}/{stem}.obj
width#{n}=40
depth#{n}=80
height#{n}=20
{extra}
creator#{n}=Somebody
"""


def write_crate_library(folder: Path) -> None:
    """Write the library's file into `folder`."""
    texture = io.BytesIO()
    Image.new("RGB", (4, 4), (200, 100, 50)).save(texture, "PNG")
    index = "version=1.8\nlicense=Public domain\n" + "".join(
        [
            ENTRY.format(n=1, stem="crate", extra=""),
            ENTRY.format(n=2, stem="lying", extra="modelRotation#2=1 0 0 0 0 1 0 -1 0"),
            ENTRY.format(n=3, stem="sheet", extra="").replace("height#3=20", "height#3=0.5"),
        ]
    )
    with ZipFile(folder / LIBRARY.file_name, "w") as archive:
        archive.writestr("PluginFurnitureCatalog.properties", index.encode("latin-1"))
        for stem in ("crate", "lying", "sheet"):
            archive.writestr(f"models/{stem}/{stem}.obj", CUBE_OBJ)
            archive.writestr(f"models/{stem}/crate.mtl", CUBE_MTL)
            archive.writestr(f"models/{stem}/wood.png", texture.getvalue())
