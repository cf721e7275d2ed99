# SPDX-License-Identifier: GPL-3.0-or-later
"""What the photo shows of the surface has the photo's colours."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from .reconstruction.frame import VolumeFrame
from .silhouette import Silhouette

FACING_RANGE = (0.15, 0.5)
"""Cosine between normal and view: a surface seen edge-on is not coloured, from the second on it
is."""
INSET_RANGE_PX = (0.5, 2.5)
"""Likewise of the distance from the outline, where the background shines in."""
START_VOXELS = 2.5
"""Of the mesh's grid, along the normal: the surface does not hide itself."""
NUM_RAY_SAMPLES = 64
CHUNK_POINTS = 2**14


@dataclass(frozen=True, kw_only=True)
class PhotoColors:
    """The photo, seen as a projector."""

    rgb: NDArray
    """`(D, D, 3)` uint8 sRGB, of any size."""
    silhouette: Silhouette
    """The object's outline in it, and its camera."""

    def blend(
        self, colors: Tensor, points: Tensor, normals: Tensor, sdf: Tensor, frame: VolumeFrame
    ) -> Tensor:
        """Surface colours `(N, 3)` sRGB 0..1, with the photo's where it shows the surface.

        Args:
            colors: `(N, 3)` of the other views, sRGB 0..1.
            points: `(N, 3)` on the surface, volume coordinates.
            normals: `(N, 3)` unit, outwards.
            sdf: `(R, R, R)` signed distance on the mesh's grid: it says what hides what.
            frame: Of the volume.
        """
        eye = torch.from_numpy(self.silhouette.c2w[:3, 3])[None].to(points)
        parts = zip(
            colors.split(CHUNK_POINTS),
            points.split(CHUNK_POINTS),
            normals.split(CHUNK_POINTS),
            strict=True,
        )
        return torch.cat(
            [self._blend_chunk(*part, sdf, frame, frame.to_volume(eye)) for part in parts]
        )

    def _blend_chunk(
        self,
        colors: Tensor,
        points: Tensor,
        normals: Tensor,
        sdf: Tensor,
        frame: VolumeFrame,
        eye: Tensor,
    ) -> Tensor:
        world = frame.to_world(points)
        to_eye = F.normalize(eye - points, dim=-1)
        facing = (to_eye * normals).sum(-1)
        world_per_px = (eye - points).norm(dim=-1) * frame.radius / self.silhouette.K[0, 0]
        inset_px = -self.silhouette.distance(world) / world_per_px
        share = _ramp(facing, FACING_RANGE) * _ramp(inset_px, INSET_RANGE_PX)
        share = share * ~_is_hidden(points, normals, eye, sdf)
        photo = self.silhouette.sample(torch.from_numpy(self.rgb).permute(2, 0, 1) / 255.0, world)
        return torch.lerp(colors, photo.T.to(colors), share[:, None].to(colors))


def _is_hidden(points: Tensor, normals: Tensor, eye: Tensor, sdf: Tensor) -> Tensor:
    """`(N,)` bool: whether the surface lies between points `(N, 3)` and the eye `(1, 3)`."""
    start = points + normals * START_VOXELS * 2 / (len(sdf) - 1)
    inside_cube = 2.0 * torch.linspace(0, 1, NUM_RAY_SAMPLES).to(points)
    along = start[:, None] + F.normalize(eye - start, dim=-1)[:, None] * inside_cube[:, None]
    sampled = F.grid_sample(
        sdf[None, None].to(points),
        along.flip(-1)[None, :, :, None],
        padding_mode="border",
        align_corners=True,
    )[0, 0, ..., 0]
    is_in_cube = (along.abs() <= 1).all(-1)
    return ((sampled < 0) & is_in_cube).any(-1)


def _ramp(value: Tensor, between: tuple[float, float]) -> Tensor:
    """0 below the first, 1 above the second."""
    low, high = between
    return ((value - low) / (high - low)).clamp(0, 1)
