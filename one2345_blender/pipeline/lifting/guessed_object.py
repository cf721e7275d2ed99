# SPDX-License-Identifier: GPL-3.0-or-later
"""The lifted object, ready to be looked at from where Zero123 is asked to look."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ...contracts.cameras import Viewpoint, c2w_from_viewpoints
from ...contracts.job import ElevationEstimate
from ..view_schedule import PoseOffset
from .photo_elevation import PhotoElevation
from .photo_lifter import LiftedPhoto, PhotoLifter
from .radiance import RadianceGrid, density, grid_nodes, subsampled_intrinsics

GRID_SIZE = 64
NUM_SAMPLES = 48
SUBSAMPLING = 2
"""Guesses are blurred anyway: they are rendered at half the size of the views."""


@dataclass(frozen=True, kw_only=True)
class GuessedObject:
    """The volume of one photo, and the elevation that it is believed to be taken from."""

    lifted: LiftedPhoto
    elevation: ElevationEstimate
    """Its confidence is the probability of being within `SURE_WITHIN_DEG` of the truth."""
    size_px: int
    """Side of the views."""

    @cached_property
    def grid(self) -> RadianceGrid:
        """The volume with +Z up, the photo's camera at azimuth 0."""
        return upright_grid(self.lifted, self.elevation.elevation_deg)

    def seen_from(self, elevation: ElevationEstimate) -> GuessedObject:
        """The same volume, its photo taken from another elevation."""
        return self if elevation == self.elevation else replace(self, elevation=elevation)

    @torch.no_grad()
    def views(self, offsets: Sequence[PoseOffset]) -> NDArray[np.uint8]:
        """What is seen at `V` offsets from the photo: `(V, S, S, 3)` uint8 sRGB on white."""
        c2w = _cameras(
            [o.d_azimuth_deg for o in offsets],
            [self.elevation.elevation_deg - o.d_polar_deg for o in offsets],
        ).to(self.grid.density.device)
        size_px = self.size_px // SUBSAMPLING
        K = subsampled_intrinsics(size_px, SUBSAMPLING).to(c2w)
        shown = self.grid.render(c2w, K, size_px, NUM_SAMPLES)[:, :3]
        shown = F.interpolate(shown, size=(self.size_px,) * 2, mode="bilinear")
        rgb: NDArray[np.uint8] = (
            (shown.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).cpu().numpy()
        )
        return rgb


@torch.no_grad()
def guess_object(
    lifter: PhotoLifter,
    elevation: PhotoElevation,
    rgb: NDArray[np.uint8],
    mask: NDArray[np.floating | np.bool_],
    elevation_deg: float | None = None,
) -> GuessedObject:
    """Lift one photo.

    Args:
        lifter: Says what lies behind the photo's pixels.
        elevation: Says how the photo's camera was tilted.
        rgb: `(S, S, 3)` sRGB on white.
        mask: `(S, S)` coverage 0..1.
        elevation_deg: Of the photo's camera, where it is known.
    """
    rgba = np.concatenate([rgb / 255.0, mask[..., None]], axis=-1).astype(np.float32)
    photo = torch.from_numpy(rgba).permute(2, 0, 1)[None].to(lifter.device)
    if elevation_deg is None:
        estimated_deg, confidence = (float(value[0]) for value in elevation.estimate(photo))
        estimate = ElevationEstimate(
            elevation_deg=estimated_deg, is_estimated=True, confidence=confidence
        )
    else:
        estimate = ElevationEstimate.given(elevation_deg)
    return GuessedObject(lifted=lifter(photo), elevation=estimate, size_px=len(rgb))


def upright_grid(lifted: LiftedPhoto, elevation_deg: float) -> RadianceGrid:
    """The first photo's volume in a grid with +Z up, the photo's camera at azimuth 0."""
    points = grid_nodes(GRID_SIZE)
    c2w = _cameras([0.0], [elevation_deg])[0]
    before_camera = (points - c2w[:3, 3]) @ c2w[:3, :3]
    logit, rgb = lifted.at(before_camera[None].to(lifted.logit))
    shape = (GRID_SIZE,) * 3
    return RadianceGrid(
        density=density(logit[0], points.to(logit)).reshape(shape),
        rgb=rgb[0].T.reshape(3, *shape),
    )


def _cameras(azimuth_deg: Sequence[float], elevation_deg: Sequence[float]) -> Tensor:
    """`(V, 4, 4)` float32 camera to world, OpenCV axes."""
    viewpoints = [
        Viewpoint(name="guess", azimuth_deg=a, elevation_deg=e)
        for a, e in zip(azimuth_deg, elevation_deg, strict=True)
    ]
    return torch.from_numpy(c2w_from_viewpoints(viewpoints))
