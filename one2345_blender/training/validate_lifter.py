# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores of the lifter alone on unseen objects: the views that it hands to Zero123 as guesses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ..contracts.job import ElevationEstimate
from ..pipeline.lifting.guessed_object import GuessedObject, guess_object
from ..pipeline.lifting.photo_elevation import PhotoElevation
from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.view_schedule import PoseOffset
from .validate_views import compare_views
from .view_data import RigReader, RigViews, read_split


def validate_lifter(
    network: PhotoLifter, data_dir: Path, sheet_path: Path
) -> dict[str, dict[str, float]] | None:
    """PSNR and IoU of the guesses by kind of view, the elevation being known; see `compare_views`.

    None while no validation object is rendered.

    Args:
        network: To judge.
        data_dir: Holds `renders` and `split.json`.
        sheet_path: The contact sheet.
    """
    rigs = RigReader(data_dir, read_split(data_dir, "val"), rigs_per_asset=1).read_new()
    if not rigs.asset_ids:
        return None
    guesses = []
    for rig in range(len(rigs.rgb)):
        elevation_deg = float(rigs.photo_elevation_deg[rig])
        photo = np.dstack([rigs.rgb[rig, 0], rigs.photo_mask[rig]])
        images = torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255.0
        with torch.no_grad():
            lifted = network(images.to(network.device))
        guessed = GuessedObject(
            lifted=lifted, elevation=ElevationEstimate.given(elevation_deg), size_px=len(photo)
        )
        guesses.append(seen_from_cameras(guessed, rigs, rig))
    return compare_views(np.stack(guesses), rigs, sheet_path)


def guessed_views(
    lifter: PhotoLifter,
    elevation: PhotoElevation,
    rigs: RigViews,
    rig: int,
    *,
    knows_elevation: bool,
) -> np.ndarray:
    """What the lifter shows of one rig's photo in all its views, `(V, H, W, 3)` uint8.

    Args:
        knows_elevation: The photo's elevation is the rig's; otherwise it is estimated, as in use.
    """
    known_deg = float(rigs.photo_elevation_deg[rig]) if knows_elevation else None
    mask = rigs.photo_mask[rig] / 255.0
    guessed = guess_object(lifter, elevation, rigs.rgb[rig, 0], mask, known_deg)
    return seen_from_cameras(guessed, rigs, rig)


def seen_from_cameras(guessed: GuessedObject, rigs: RigViews, rig: int) -> np.ndarray:
    """The guessed object in all views of one rig, `(V, H, W, 3)` uint8."""
    return guessed.views(
        [
            PoseOffset(float(polar - rigs.polar_deg[rig, 0]), float(azimuth))
            for polar, azimuth in zip(rigs.polar_deg[rig], rigs.azimuth_deg[rig], strict=True)
        ]
    )
