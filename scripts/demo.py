# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way: a photo, the operator, the worker, a .blend and pictures of what came out.

Writes `mesh.glb`, `scene.blend`, `preview.png`, `views.png` and `report.json`. Needs bpy, which pip
has for Python 3.11 and 3.13, and the worker's packages in the same environment.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import time
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PHOTO = ROOT / "docs" / "demo" / "coffee.jpg"
WORKER_PYTHON_VARIABLE = "ONE2345_PYTHON"


def convert(photo_path: Path, job_dir: Path, *, preset: str, seed: int) -> None:
    """Turn an empty scene into one with the photo's object and camera, by the operator."""
    import bpy

    from one2345_blender import addon

    bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
    addon.register()
    try:
        bpy.ops.one2345.image_to_mesh(
            filepath=str(photo_path), preset=preset, seed=seed, output_dir=str(job_dir)
        )
    finally:
        addon.unregister()  # pip's bpy 4.5 hangs at exit while anything is registered


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("photo", nargs="?", type=Path, default=PHOTO)
    parser.add_argument("--output", type=Path, default=ROOT / "out" / "demo")
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    if find_spec("bpy") is None:
        print(
            f"error: this Python ({sys.version.split()[0]}) has no bpy, the Blender module\n"
            "hint: remove .venv and run `make demo` with Python 3.11 or 3.13 installed",
            file=sys.stderr,
        )
        return 1
    sys.path.insert(0, str(ROOT))
    os.environ.setdefault(WORKER_PYTHON_VARIABLE, sys.executable)
    output_dir = arguments.output.resolve()
    job_dir = output_dir / "job"

    began = time.perf_counter()
    try:
        convert(arguments.photo.resolve(), job_dir, preset=arguments.preset, seed=arguments.seed)
    except RuntimeError:  # a failed operator, which has said why
        return 1
    print(f"converted in {time.perf_counter() - began:.1f} s")

    from demo_pictures import write_preview, write_view_sheet
    from demo_scene import light_scene, save_scene

    for name in ("mesh.glb", "report.json"):
        shutil.copy(job_dir / name, output_dir / name)
    write_view_sheet(job_dir / "views", output_dir / "views.png")
    light_scene()
    write_preview(job_dir / "photo.png", output_dir / "preview.png")
    save_scene(output_dir / "scene.blend")
    for name in ("mesh.glb", "scene.blend", "preview.png", "views.png", "report.json"):
        print(output_dir / name)
    return 0


if __name__ == "__main__":
    sys.exit(main())
