# SPDX-License-Identifier: GPL-3.0-or-later
"""The outline that the photo shows is certain: nothing of the object lies outside its cone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor
from torch.nn import functional as F

EDGE_ROUNDING_PX = 0.6
"""Pixels' corners would leave ribs on the mesh; a line one pixel wide stays inside."""


@dataclass(frozen=True, kw_only=True)
class Silhouette:
    """The object's mask in one view, and that view's camera."""

    mask: NDArray[np.bool_]
    """`(S, S)`, true on the object."""
    c2w: NDArray[np.float32]
    """`(4, 4)`, OpenCV axes, world frame."""
    K: NDArray[np.float32]
    """`(3, 3)`, pixels."""

    def distance(self, points: Tensor) -> Tensor:
        """Distance `(P,)` in world units from world points `(P, 3)` to the cone of the outline.

        Positive outside; measured parallel to the picture, at the depth of the point.
        """
        sampled = self.sample(torch.from_numpy(self._rounded_distance_px)[None], points)
        return sampled[0] * self.depth(points) / self.K[0, 0].item()

    def depth(self, points: Tensor) -> Tensor:
        """Depth `(P,)` of world points `(P, 3)` along the camera's axis."""
        return self._camera_points(points)[:, 2]

    def ray_points(self, depths: Tensor) -> Iterator[Tensor]:
        """World points `(S, N, 3)` at depths `(N,)` on the rays of the pixels, row by row."""
        c2w, K = (torch.from_numpy(array).to(depths) for array in (self.c2w, self.K))
        ray_from_px = torch.linalg.inv(K)
        px = torch.arange(len(self.mask)).to(depths)
        for row in px:
            pixels = torch.stack([px, row.expand_as(px), torch.ones_like(px)], dim=-1)
            rays = pixels @ ray_from_px.T
            yield rays[:, None] * depths[None, :, None] @ c2w[:3, :3].T + c2w[:3, 3]

    def sample(self, picture: Tensor, points: Tensor) -> Tensor:
        """What a picture `(C, D, D)` of this view shows at world points `(P, 3)`: `(C, P)`."""
        camera = self._camera_points(points)
        K = torch.from_numpy(self.K).to(points)
        px = (camera @ K.T)[:, :2] / camera[:, 2:]
        grid = (2 * px + 1) / len(self.mask) - 1
        return F.grid_sample(
            picture[None].to(points),
            grid[None, None],
            mode="bilinear",
            padding_mode="border",
            align_corners=False,
        )[0, :, 0]

    def _camera_points(self, points: Tensor) -> Tensor:
        w2c = torch.linalg.inv(torch.from_numpy(self.c2w).double()).to(points)
        return points @ w2c[:3, :3].T + w2c[:3, 3]

    @property
    def inset(self) -> NDArray[np.float64]:
        """`(S, S)` distance to the outline inside it, as seen at depth 1; 0 outside."""
        return np.maximum(-self._distance_px, 0.0) / float(self.K[0, 0])

    @cached_property
    def _distance_px(self) -> NDArray[np.float64]:
        """`(S, S)` distance to the outline, positive outside."""
        return distance_transform_edt(~self.mask) - distance_transform_edt(self.mask)

    @cached_property
    def _rounded_distance_px(self) -> NDArray[np.float64]:
        """`_distance_px` without the pixels' corners."""
        return gaussian_filter(self._distance_px, EDGE_ROUNDING_PX)
