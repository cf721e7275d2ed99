# SPDX-License-Identifier: GPL-3.0-or-later
"""How well the reconstruction network does on unseen objects: distances, occupancy, pictures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..contracts.cameras import method_rig
from ..contracts.errors import EmptySurfaceError
from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.meshing import extract_mesh, sdf_grid
from ..pipeline.reconstruction.geometry_volume import GeometryVolume
from ..pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from ..pipeline.view_schedule import method_viewpoints
from .reconstruction_data import (
    SourceViews,
    depth_rig,
    lifted_photo,
    photo_and_near_views,
    source_views,
    stage1_sources,
    surveyed,
    without_photo,
)
from .reconstruction_recipes import SHIPPED, ReconstructionRecipe
from .renders import load_rigs
from .splat_preview import splat_views
from .targets import TRUNCATION, SdfTarget
from .training_loop import on_device

GRID_RESOLUTION = 64
MESH_RESOLUTION = 128
SHOWN_VIEWS = (0, 1, 2, 3, 5)
"""Stage-1 views in the pictures; none of them is a source."""


@torch.no_grad()
def validate(
    reconstructor: SparseNeuSReconstructor,
    data_dir: Path,
    asset_ids: Sequence[str],
    pictures_dir: Path,
    lifter: PhotoLifter | None = None,
    *,
    recipe: ReconstructionRecipe = SHIPPED,
) -> list[dict[str, float]]:
    """Scores of each object's first rig, from true sources and, if there are any, predicted ones.

    Sources are those of the recipe, true ones alone where these are the views of stage 1; predicted
    ones have the `lifter`'s guess beside them. Keys: `true_sdf_l1` (world units), `true_iou`
    (occupancy at 64^3); `predicted_...` likewise. One picture per object: true views, then the mesh
    from true, then from predicted sources.
    """
    pictures_dir.mkdir(parents=True, exist_ok=True)
    rows = []
    for asset_id in asset_ids:
        rigs = load_rigs(data_dir / "renders" / f"{asset_id}.npz")
        elevation_deg = float(rigs.elevation_deg[0])
        depths = surveyed(depth_rig(rigs, 0), rigs.survey_depth[0])
        target = SdfTarget(depths, torch.Generator().manual_seed(0))
        if recipe.source_stage == 1:
            sources = {"true": stage1_sources(rigs, 0)}
        else:
            sources = {"true": source_views(photo_and_near_views(rigs, 0), elevation_deg)}
        predicted = data_dir / "predicted" / f"{asset_id}.npz"
        if predicted.is_file() and recipe.source_stage == 2:
            with np.load(predicted) as arrays:
                near = np.concatenate([rigs.rgb[0, :1], arrays["rgb"][0]])
            guess = None if lifter is None else lifted_photo(lifter, rigs, 0)
            sources["predicted"] = replace(source_views(near, elevation_deg), guess=guess)
        row: dict[str, float] = {}
        pictures = [rigs.rgb[0, list(SHOWN_VIEWS)]]
        for kind, views in sources.items():
            if not recipe.sees_photo:
                views = without_photo(views)
            volume = _encode(reconstructor, views)
            for name, value in _scores(reconstructor, volume, target).items():
                row[f"{kind}_{name}"] = value
            pictures.append(_mesh_views(reconstructor, volume, elevation_deg))
        sheet = np.concatenate([np.concatenate(list(strip), axis=1) for strip in pictures])
        Image.fromarray(sheet).save(pictures_dir / f"{asset_id}.png")
        rows.append(row)
    return rows


def mean_scores(rows: Sequence[dict[str, float]]) -> dict[str, float]:
    """Mean of each score over the objects that have it."""
    names = sorted({name for row in rows for name in row})
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in names}


def _encode(reconstructor: SparseNeuSReconstructor, views: SourceViews) -> GeometryVolume:
    views = on_device(views, reconstructor.device)
    return reconstructor.encode(
        views.rgb, views.c2w, views.K, views.reference_c2w, guess=views.guess
    )


def _scores(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume, target: SdfTarget
) -> dict[str, float]:
    axis = torch.linspace(-1, 1, GRID_RESOLUTION, device=volume.features.device)
    nodes = volume.frame.to_world(torch.cartesian_prod(axis, axis, axis))
    expected: Tensor = torch.cat([target(chunk) for chunk in nodes.cpu().split(2**15)])
    above_level = sdf_grid(reconstructor, volume, GRID_RESOLUTION).flatten().cpu()
    sdf = (above_level + reconstructor.config["iso_level"]) * volume.frame.radius
    inside, expected_inside = sdf < 0, expected < 0
    union = (inside | expected_inside).sum().clamp_min(1)
    return {
        "sdf_l1": float((sdf.clamp(-TRUNCATION, TRUNCATION) - expected).abs().mean()),
        "iou": float((inside & expected_inside).sum() / union),
    }


def _mesh_views(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume, elevation_deg: float
) -> NDArray[np.uint8]:
    viewpoints = [method_viewpoints(elevation_deg)[index] for index in SHOWN_VIEWS]
    cameras = method_rig(viewpoints, reconstructor.config["image_size_px"])
    try:
        mesh = extract_mesh(reconstructor, volume, MESH_RESOLUTION)
    except EmptySurfaceError:
        return np.full((len(viewpoints), cameras.height_px, cameras.width_px, 3), 128, np.uint8)
    return splat_views(mesh, cameras)
