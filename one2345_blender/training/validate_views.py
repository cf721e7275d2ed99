# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores a Zero123 pipeline on unseen objects against simply repeating the input picture."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from ..pipeline.zero123.pipeline_zero123 import Zero123Pipeline
from .picture_scores import psnr_db, silhouette_iou
from .view_data import RigViews, pairs_between
from .view_recipes import Sampling

VIEWS_BY_KIND = {
    "level": (1, 2, 3),
    "tilted": (4, 5, 6, 7),
    "near": (8, 9, 10, 11),
}
"""Those that the method asks of view 0, by kind of offset."""
SOME_VIEWS = {"level": (1, 2, 3), "tilted": (4, 6), "near": (8, 11)}
"""Enough of them to follow a training by."""
FAR_FROM_DEG = 45.0
FAR, ALL = "over 45 degrees", "all offsets"
"""Two more rows: views whose camera looks from so far away, and all together."""
BACKGROUND_FROM_LEVEL = 245
NUM_SHEET_ROWS = 16


def validate_views(
    pipeline: Zero123Pipeline,
    guesses: np.ndarray | None,
    rigs: RigViews,
    sheet_path: Path,
    sampling: Sampling,
    kinds: Mapping[str, tuple[int, ...]] = SOME_VIEWS,
) -> dict[str, dict[str, float]]:
    """Predict views of each rig from its view 0, and compare them with the renders.

    Args:
        pipeline: With the weights to judge.
        guesses: `(R, V, H, W, 3)` uint8 for all views of the rigs, where it takes first guesses.
        rigs: Unseen objects.
        sheet_path: The contact sheet: per row the input, then each render beside its prediction.
        sampling: Steps and guidance; where sampling starts is the pipeline's.
        kinds: Which views, by kind.

    Returns:
        For each kind, and for `FAR` and `ALL` of these views: `psnr_db` and `iou` of the
        prediction, and of the input repeated; means over images.
    """
    targets = _targets(kinds)
    predicted = []
    for rig in range(len(rigs.rgb)):
        pairs = pairs_between(
            rigs, np.full(len(targets), rig), np.zeros(len(targets), int), targets
        )
        views = pipeline(
            rigs.rgb[rig, :1],
            pairs.d_polar_deg.tolist(),
            pairs.d_azimuth_deg.tolist(),
            guess_rgb=None if guesses is None else guesses[rig, targets],
            generator=torch.Generator().manual_seed(rig),
            num_inference_steps=sampling.num_inference_steps,
            guidance_scale=sampling.guidance_scale,
        )
        predicted.append(views)
    return _scores(np.stack(predicted), kinds, rigs, sheet_path)


def compare_views(
    views: np.ndarray,
    rigs: RigViews,
    sheet_path: Path,
    kinds: Mapping[str, tuple[int, ...]] = SOME_VIEWS,
) -> dict[str, dict[str, float]]:
    """Scores and sheet like `validate_views`, of any views `(R, V, H, W, 3)` of the rigs."""
    return _scores(views[:, _targets(kinds)], kinds, rigs, sheet_path)


def _targets(kinds: Mapping[str, tuple[int, ...]]) -> np.ndarray:
    return np.array([view for views in kinds.values() for view in views])


def _scores(
    predicted_rgb: np.ndarray,
    kinds: Mapping[str, tuple[int, ...]],
    rigs: RigViews,
    sheet_path: Path,
) -> dict[str, dict[str, float]]:
    targets = _targets(kinds)
    rendered = rigs.rgb[:, targets]
    repeated = np.broadcast_to(rigs.rgb[:, :1], rendered.shape)
    _write_sheet(rigs.rgb[:, 0], rendered, predicted_rgb, sheet_path)
    outlines = _outlines(rendered)
    of_images = {
        "psnr_db": psnr_db(rendered, predicted_rgb),
        "iou": silhouette_iou(outlines, _outlines(predicted_rgb)),
        "input_psnr_db": psnr_db(rendered, repeated),
        "input_iou": silhouette_iou(outlines, _outlines(repeated)),
    }
    kind_of = np.array([kind for kind, views in kinds.items() for _ in views])
    rows = {kind: np.broadcast_to(kind_of == kind, rendered.shape[:2]) for kind in kinds}
    rows[FAR] = _turned_deg(rigs, targets) > FAR_FROM_DEG
    rows[ALL] = np.ones(rendered.shape[:2], bool)
    return {
        row: {
            name: round(float(values[is_counted].mean()), 2 if "psnr" in name else 3)
            for name, values in of_images.items()
        }
        for row, is_counted in rows.items()
        if is_counted.any()
    }


def _turned_deg(rigs: RigViews, targets: np.ndarray) -> np.ndarray:
    """`(R, T)` degrees between the directions from which view 0 and the targets look."""
    polar, azimuth = np.radians(rigs.polar_deg), np.radians(rigs.azimuth_deg)
    direction = np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], axis=-1
    )
    cosine = (direction[:, targets] * direction[:, :1]).sum(-1)
    turned_deg: np.ndarray = np.degrees(np.arccos(cosine.clip(-1.0, 1.0)))
    return turned_deg


def _outlines(rgb: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """`(..., H, W)`: where a channel of `(..., H, W, 3)` is below `BACKGROUND_FROM_LEVEL`."""
    is_object: NDArray[np.bool_] = (rgb < BACKGROUND_FROM_LEVEL).any(axis=-1)
    return is_object


def _write_sheet(
    inputs: np.ndarray, rendered: np.ndarray, predicted: np.ndarray, path: Path
) -> None:
    beside = np.stack([rendered, predicted], axis=2).reshape(len(inputs), -1, *rendered.shape[2:])
    tiles = np.concatenate([inputs[:, None], beside], axis=1)[:NUM_SHEET_ROWS]
    rows = [np.concatenate(list(row), axis=1) for row in tiles]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)
