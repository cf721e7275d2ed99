# SPDX-License-Identifier: GPL-3.0-or-later
"""CPU time and memory of the reconstruction, against the same formulas without its shortcuts.

Both run the original's settings (32 views of 256 px, a 96^3 volume, a mesh grid of 256^3) with the
untrained weights of `tests/golden`, each in a process of its own. Their field is rougher than a
trained one; `--iso-level` picks a level set whose mesh has a usual number of vertices.

    python -m benchmarks.reconstruction
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from scipy.spatial import cKDTree

from benchmarks.plain_reconstruction import plain_mesh
from benchmarks.stopwatch import Stopwatch
from one2345_blender.contracts.mesh import ColoredMesh, load_npz, save_npz
from one2345_blender.evaluation.parity import original_reconstructor, read_excerpt_scene
from one2345_blender.pipeline.meshing import extract_mesh

GOLDEN = Path(__file__).parents[1] / "tests" / "golden"
PATHS = ("plain", "package")
MESH_NPZ, TIMES_JSON = "mesh.npz", "times.json"


def main(argv: list[str]) -> None:
    """Run both paths, or with `--path` the one, and print the comparison."""
    parser = argparse.ArgumentParser(prog="benchmarks.reconstruction", description=__doc__)
    parser.add_argument("--volume-size", type=int, default=96)
    parser.add_argument("--resolution", type=int, default=256)
    parser.add_argument("--iso-level", type=float, default=-0.094)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--path", choices=PATHS, help=argparse.SUPPRESS)
    parser.add_argument("--output", type=Path, help=argparse.SUPPRESS)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    if args.path:
        run_path(args)
        return
    with tempfile.TemporaryDirectory() as folder:
        outputs = {path: Path(folder) / path for path in PATHS}
        for path, output in outputs.items():
            output.mkdir()
            command = [sys.executable, "-m", "benchmarks.reconstruction", *argv]
            subprocess.run([*command, "--path", path, "--output", output], check=True)
        print("\n".join(report(**outputs)))


def run_path(args: argparse.Namespace) -> None:
    """One path in this process; its mesh and times go to the folder `args.output`."""
    stopwatch = Stopwatch()
    reconstructor = original_reconstructor(
        GOLDEN / "original_reconstruction_seed0.pth", args.volume_size
    )
    reconstructor.register_to_config(iso_level=args.iso_level)
    images, cameras, reference_c2w = read_excerpt_scene(GOLDEN)
    rgb = torch.from_numpy(images).float() / 255
    frame = reconstructor.place_volume(
        torch.from_numpy(cameras.c2w),
        torch.from_numpy(cameras.K),
        torch.from_numpy(reference_c2w),
        cameras.near_far,
    )
    if args.path == "plain":
        mesh = plain_mesh(reconstructor, rgb, frame, args.resolution, stopwatch.begin)
    else:
        with torch.no_grad():
            volume = reconstructor.encode_in_frame(rgb, frame, on_event=stopwatch.on_event)
        mesh = extract_mesh(reconstructor, volume, args.resolution, stopwatch.on_event)
    stopwatch.begin("end")
    with (args.output / MESH_NPZ).open("wb") as file:
        save_npz(mesh, file)
    (args.output / TIMES_JSON).write_text(
        json.dumps({name: asdict(cost) for name, cost in stopwatch.stages.items()}),
        encoding="utf-8",
    )


def report(plain: Path, package: Path) -> list[str]:
    """Lines of Markdown: seconds and memory by stage, their ratio, and what sets the meshes apart.

    Args:
        plain: folder with the results of the plain path.
        package: folder with those of the package's.
    """
    times = {
        path.name: json.loads((path / TIMES_JSON).read_text(encoding="utf-8"))
        for path in (plain, package)
    }
    ours, theirs = times[package.name], times[plain.name]
    lines = [
        "| stage | plain, CPU s | package, CPU s | ratio | plain, peak GB | package, peak GB |",
        "|---|---|---|---|---|---|",
    ]
    for stage in ours:
        lines.append(_row(stage, theirs[stage], ours[stage]))
    lines.append(_row("**all**", _total(theirs), _total(ours)))
    return [*lines, "", *compare_meshes(load_npz(plain / MESH_NPZ), load_npz(package / MESH_NPZ))]


def compare_meshes(plain: ColoredMesh, package: ColoredMesh) -> list[str]:
    """Distances between nearest vertices in world units, both ways, and their colours."""
    to_package, nearest = cKDTree(package.vertices).query(plain.vertices)
    to_plain, _ = cKDTree(plain.vertices).query(package.vertices)
    levels = np.abs(
        plain.vertex_colors.astype(int) - package.vertex_colors[nearest].astype(int)
    ).max(axis=1)
    return [
        f"vertices: plain {len(plain.vertices)}, package {len(package.vertices)}",
        f"largest distance to the other's nearest vertex: {to_package.max():.1e} from plain, "
        f"{to_plain.max():.1e} from the package's",
        f"colours of nearest vertices: {levels.max()} of 255 apart at most, "
        f"{(levels > 1).sum()} vertices by more than 1",
    ]


def _row(stage: str, plain: dict[str, float], package: dict[str, float]) -> str:
    ratio = plain["cpu_s"] / package["cpu_s"]
    return (
        f"| {stage} | {plain['cpu_s']:.1f} | {package['cpu_s']:.1f} | {ratio:.1f} "
        f"| {plain['peak_bytes'] / 1e9:.2f} | {package['peak_bytes'] / 1e9:.2f} |"
    )


def _total(stages: dict[str, dict[str, float]]) -> dict[str, float]:
    return {
        "cpu_s": sum(stage["cpu_s"] for stage in stages.values()),
        "peak_bytes": max(stage["peak_bytes"] for stage in stages.values()),
    }


if __name__ == "__main__":
    main(sys.argv[1:])
