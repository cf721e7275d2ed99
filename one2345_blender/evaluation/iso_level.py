# SPDX-License-Identifier: GPL-3.0-or-later
"""Which `iso_level` gives the most faithful outlines, on unseen objects and predicted views."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

from ..contracts.errors import EmptySurfaceError
from ..contracts.progress import ignore_events
from ..pipeline.model_cache import ModelCache
from ..pipeline.photo_evidence import PhotoEvidence
from ..pipeline.view_schedule import (
    NUM_STAGE1_VIEWS,
    method_viewpoints,
)
from ..training.cutouts import rgba_from_render
from ..training.picture_scores import silhouette_iou
from ..training.renders import load_rigs
from ..training.view_data import read_split
from .attempts import true_scale
from .mesh_renderer import MeshRenderer


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.evaluation iso-level`."""
    parser = argparse.ArgumentParser(prog="evaluation iso-level", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/training"))
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--objects", type=int, default=6)
    parser.add_argument("--levels", type=float, nargs="+", default=[0.0, -0.01, -0.02, -0.03])
    args = parser.parse_args(argv)
    pipeline = ModelCache().get(args.preset, "cpu")
    config = pipeline.config
    ious: dict[float, list[float]] = {level: [] for level in args.levels}
    for name in read_split(args.data, "val")[: args.objects]:
        rigs = load_rigs(args.data / "renders" / f"{name}.npz")
        elevation_deg = float(rigs.elevation_deg[0])
        viewpoints = method_viewpoints(elevation_deg)
        photo = pipeline.prepare(rgba_from_render(rigs.rgb[0, 0], rigs.mask[0, 0]))
        two_stages = pipeline.two_stages(photo, seed=0, elevation_deg=elevation_deg)
        views, elevation = pipeline.synthesise(two_stages, elevation_deg)
        guess = pipeline.evidence(photo, elevation, two_stages.guessed).guess
        for iso_level in args.levels:
            pipeline.reconstruction.register_to_config(iso_level=iso_level)
            try:
                mesh = pipeline.reconstruct(
                    pipeline.source_views(views),
                    config.grid_resolution,
                    ignore_events,
                    PhotoEvidence(guess=guess),
                )
            except EmptySurfaceError:
                ious[iso_level].extend([0.0] * NUM_STAGE1_VIEWS)
                continue
            mesh = mesh.scaled(true_scale(photo, rigs.mask.shape[-1]))
            with MeshRenderer(pipeline.view_size_px) as renderer:
                for view, mask in zip(
                    viewpoints[:NUM_STAGE1_VIEWS],
                    rigs.mask[0, :NUM_STAGE1_VIEWS] > 127,
                    strict=True,
                ):
                    _, silhouette = renderer.render(mesh, view)
                    ious[iso_level].append(float(silhouette_iou(mask, silhouette)))
    for iso_level, values in ious.items():
        print(
            json.dumps({"iso_level": iso_level, "silhouette_iou": round(float(np.mean(values)), 4)})
        )
