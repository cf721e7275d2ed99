# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores a Zero123 pipeline on unseen objects against simply repeating the input picture."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ..pipeline.view_schedule import NUM_STAGE1_VIEWS
from ..pipeline.zero123.pipeline_zero123 import Zero123Pipeline
from .view_data import RigViews, pairs_between
from .view_recipes import Sampling

TARGET_VIEWS = {
    "level": (1, 2, 3),
    "tilted": (4, 6),
    "near": (NUM_STAGE1_VIEWS, NUM_STAGE1_VIEWS + 3),
}
"""Views predicted from view 0, by kind of offset."""
BACKGROUND_FROM_LEVEL = 245
NUM_SHEET_ROWS = 16


def validate_views(
    pipeline: Zero123Pipeline,
    guesses: np.ndarray | None,
    rigs: RigViews,
    sheet_path: Path,
    sampling: Sampling,
) -> dict[str, dict[str, float]]:
    """Predict `TARGET_VIEWS` of each rig and compare them with the renders.

    Args:
        pipeline: With the weights to judge.
        guesses: `(R, V, H, W, 3)` uint8 for all views of the rigs, where it takes first guesses.
        rigs: Unseen objects.
        sheet_path: The contact sheet: per row the input, then each render beside its prediction.
        sampling: Steps and guidance; the initial noise is the pipeline's.

    Returns:
        For each kind: `psnr_db` and `iou` of the prediction, and of the input repeated.
    """
    targets = _targets()
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
    return _scores(np.stack(predicted), targets, rigs, sheet_path)


def compare_views(
    views: np.ndarray, rigs: RigViews, sheet_path: Path
) -> dict[str, dict[str, float]]:
    """Scores and sheet like `validate_views`, of any views `(R, V, H, W, 3)` of the rigs."""
    targets = _targets()
    return _scores(views[:, targets], targets, rigs, sheet_path)


def _targets() -> np.ndarray:
    return np.array([view for views in TARGET_VIEWS.values() for view in views])


def _scores(
    predicted_rgb: np.ndarray, targets: np.ndarray, rigs: RigViews, sheet_path: Path
) -> dict[str, dict[str, float]]:
    rendered = rigs.rgb[:, targets]
    repeated = np.broadcast_to(rigs.rgb[:, :1], rendered.shape)
    _write_sheet(rigs.rgb[:, 0], rendered, predicted_rgb, sheet_path)
    scores, first = {}, 0
    for kind, kind_views in TARGET_VIEWS.items():
        part = np.s_[:, first : first + len(kind_views)]
        first += len(kind_views)
        scores[kind] = {
            "psnr_db": _psnr_db(predicted_rgb[part], rendered[part]),
            "iou": _silhouette_iou(predicted_rgb[part], rendered[part]),
            "input_psnr_db": _psnr_db(repeated[part], rendered[part]),
            "input_iou": _silhouette_iou(repeated[part], rendered[part]),
        }
    return scores


def _psnr_db(predicted: np.ndarray, rendered: np.ndarray) -> float:
    """Mean over all images, dB."""
    error = (predicted.astype(np.float32) - rendered) / 255.0
    mse = np.square(error).mean(axis=(-3, -2, -1))
    return round(float(np.mean(-10.0 * np.log10(mse + 1e-6))), 2)


def _silhouette_iou(predicted: np.ndarray, rendered: np.ndarray) -> float:
    """Mean over all images; an object's pixel has a channel below `BACKGROUND_FROM_LEVEL`."""
    ours = (predicted < BACKGROUND_FROM_LEVEL).any(axis=-1)
    theirs = (rendered < BACKGROUND_FROM_LEVEL).any(axis=-1)
    intersection = (ours & theirs).sum(axis=(-2, -1))
    union = (ours | theirs).sum(axis=(-2, -1))
    return round(float(np.mean(intersection / np.maximum(union, 1))), 3)


def _write_sheet(
    inputs: np.ndarray, rendered: np.ndarray, predicted: np.ndarray, path: Path
) -> None:
    beside = np.stack([rendered, predicted], axis=2).reshape(len(inputs), -1, *rendered.shape[2:])
    tiles = np.concatenate([inputs[:, None], beside], axis=1)[:NUM_SHEET_ROWS]
    rows = [np.concatenate(list(row), axis=1) for row in tiles]
    Image.fromarray(np.concatenate(rows, axis=0)).save(path)
