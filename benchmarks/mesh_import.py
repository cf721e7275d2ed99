# SPDX-License-Identifier: GPL-3.0-or-later
"""How long a result takes to get into the scene, by number of vertices.

Run with a Python that has bpy: `python benchmarks/mesh_import.py`. Each size is placed several
times as the add-on does it, from the files of a job to the undo step; the fastest run counts. The
baseline in the same run is `Mesh.from_pydata`, the way of most scripts, which makes the bare mesh
without colours, material, camera or photo. CPU seconds stand beside the wall's: on a busy machine
the process waits for its turn.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import bpy
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from one2345_blender import addon  # noqa: E402 - the package lies beside this folder
from one2345_blender.addon.place_result import Placement, place_result  # noqa: E402
from one2345_blender.contracts.job_folder import MESH_NPZ, PHOTO_PNG  # noqa: E402
from one2345_blender.contracts.mesh import ColoredMesh, load_npz, save_npz  # noqa: E402

SIZES = (10_000, 100_000, 500_000)
REPORT: dict[str, Any] = {
    "image_path": "/photo.png",
    "preset": "embedded",
    "seed": 0,
    "elevation": {"elevation_deg": 20.0, "is_estimated": True, "confidence": 0.8},
    "source_size_px": (2048, 1536),
    "crop_box_px": (256.0, 0.0, 1536.0),
    "view_size_px": 128,
    "total_seconds": 15.0,
}


def sphere(num_vertices: int) -> ColoredMesh:
    """A closed grid on a sphere with about as many vertices, and twice as many faces."""
    rows = int(np.sqrt(num_vertices / 2))
    columns = num_vertices // rows
    polar_rad, azimuth_rad = np.meshgrid(
        np.linspace(0.01, np.pi - 0.01, rows),
        np.linspace(0.0, 2 * np.pi, columns, endpoint=False),
        indexing="ij",
    )
    vertices = 0.5 * np.stack(
        [
            np.sin(polar_rad) * np.cos(azimuth_rad),
            np.sin(polar_rad) * np.sin(azimuth_rad),
            np.cos(polar_rad),
        ],
        axis=-1,
    ).reshape(-1, 3)
    index = np.arange(rows * columns).reshape(rows, columns)
    a, b = index[:-1], np.roll(index[:-1], -1, axis=1)
    c, d = index[1:], np.roll(index[1:], -1, axis=1)
    faces = np.concatenate(
        [np.stack([a, c, b], axis=-1).reshape(-1, 3), np.stack([b, c, d], axis=-1).reshape(-1, 3)]
    )
    colors = np.full((len(vertices), 4), 255, dtype=np.uint8)
    colors[:, :3] = ((vertices + 0.5) * 255).astype(np.uint8)
    return ColoredMesh(
        vertices=vertices.astype(np.float32), faces=faces.astype(np.int32), vertex_colors=colors
    )


def job_files(folder: Path, mesh: ColoredMesh) -> dict[str, str]:
    """What the worker would have written: the mesh and a photo of 3 megapixels."""
    with (folder / MESH_NPZ).open("wb") as file:
        save_npz(mesh, file)
    width_px, height_px = REPORT["source_size_px"]
    photo = bpy.data.images.new("photo", width_px, height_px)
    photo.filepath_raw, photo.file_format = str(folder / PHOTO_PNG), "PNG"
    photo.save()
    bpy.data.images.remove(photo)
    return {"mesh_npz": str(folder / MESH_NPZ), "photo": str(folder / PHOTO_PNG)}


def place(files: dict[str, str]) -> None:
    """As the add-on does it."""
    scene_uid = bpy.context.scene.session_uid
    place_result(files, REPORT, Placement(scene_uid=scene_uid, ground_point=(0.0, 0.0, 0.0)))


def from_pydata(files: dict[str, str]) -> None:
    """The baseline: the bare mesh, from lists."""
    mesh = load_npz(Path(files["mesh_npz"]))
    data = bpy.data.meshes.new("baseline")
    data.from_pydata(mesh.vertices.tolist(), [], mesh.faces.tolist())
    bpy.context.scene.collection.objects.link(bpy.data.objects.new("baseline", data))


def fastest_seconds(
    do: Callable[[dict[str, str]], None], files: dict[str, str], runs: int
) -> tuple[float, float]:
    """The shortest of some runs, each in an empty scene: by the wall's clock, and of the CPU."""
    seconds = []
    for _ in range(runs):
        bpy.ops.wm.read_homefile(use_empty=True, use_factory_startup=True)
        began = time.perf_counter(), time.process_time()
        do(files)
        seconds.append((time.perf_counter() - began[0], time.process_time() - began[1]))
    wall_s, cpu_s = zip(*seconds, strict=True)
    return min(wall_s), min(cpu_s)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=SIZES, metavar="N")
    parser.add_argument("--runs", type=int, default=3)
    options = parser.parse_args()
    print(f"Blender {bpy.app.version_string}, fastest of {options.runs} runs")
    print("| vertices | faces | placed: wall s | CPU s | from_pydata: CPU s | CPU ratio |")
    print("|---|---|---|---|---|---|")
    for size in options.sizes:
        mesh = sphere(size)
        with tempfile.TemporaryDirectory() as folder:
            files = job_files(Path(folder), mesh)
            wall_s, cpu_s = fastest_seconds(place, files, options.runs)
            _, baseline_cpu_s = fastest_seconds(from_pydata, files, options.runs)
        print(
            f"| {len(mesh.vertices):,} | {len(mesh.faces):,} | {wall_s:.3f} | {cpu_s:.3f} "
            f"| {baseline_cpu_s:.3f} | {cpu_s / baseline_cpu_s:.2f} |"
        )


if __name__ == "__main__":
    addon.register()
    try:
        main()
    finally:
        addon.unregister()  # pip's bpy 4.5 hangs at exit while anything is registered
