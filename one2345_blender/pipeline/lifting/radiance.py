# SPDX-License-Identifier: GPL-3.0-or-later
"""A grid of density and colour, and the views of it: emission and absorption along rays."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from ...contracts.cameras import method_intrinsics

VOLUME_HALF_SIDE = 0.62
"""World units: the cube that holds every object."""
DEPTH_RANGE = (0.58, 1.82)
"""World units along the view axis: where that cube's inscribed sphere lies before every camera."""
MAX_DENSITY = 80.0
"""Per world unit: what is inside is opaque within a few hundredths."""
SMALLEST_SHARE = 1e-6
"""Of `MAX_DENSITY`: what is nearer to nothing or to all of it is taken for so much."""
MIN_SHARE = 1e-4
"""Of a ray's light; the colours of samples that add less are not looked up."""
SHARPNESS = 4.0
"""Of the step in density at even odds. Soft odds would add up along a ray: too wide an outline."""


def density(inside_logit: Tensor, points: Tensor) -> Tensor:
    """Absorption for each world unit of places with these odds of being inside, `(...)`.

    Args:
        inside_logit: `(...)`.
        points: `(..., 3)` from the object's centre, world units: nothing is outside the sphere.
    """
    in_sphere = points.square().sum(-1) < VOLUME_HALF_SIDE**2
    return MAX_DENSITY * (SHARPNESS * inside_logit).sigmoid() * in_sphere


def inside_logit(absorption: Tensor) -> Tensor:
    """The odds `(...)` that `density` made this of; low ones outside the sphere."""
    return torch.special.logit(absorption / MAX_DENSITY, eps=SMALLEST_SHARE) / SHARPNESS


def ray_samples(K: Tensor, size_px: int, num_samples: int) -> tuple[Tensor, float]:
    """Points on the rays of all pixels `(S * S, N, 3)` in the camera's frame, and their distance.

    Args:
        K: `(3, 3)` for views of `size_px`; pixel `(x, y)` has its centre at `(x, y)`.
        size_px: S.
        num_samples: N, over `DEPTH_RANGE`.
    """
    near, far = DEPTH_RANGE
    step = (far - near) / num_samples
    depth = near + step * (torch.arange(num_samples, device=K.device) + 0.5)
    axis = torch.arange(size_px, device=K.device, dtype=torch.float32)
    rows, columns = torch.meshgrid(axis, axis, indexing="ij")
    px = torch.stack([columns, rows, torch.ones_like(rows)], dim=-1).reshape(-1, 3)
    rays = px @ torch.linalg.inv(K).T  # at depth 1
    return rays[:, None] * depth[:, None], step


def subsampled_intrinsics(size_px: int, factor: int) -> Tensor:
    """`(3, 3)` of views of `size_px` whose pixels are means of `factor` by `factor` others."""
    K = torch.from_numpy(method_intrinsics(size_px)).float()
    K[:2, 2] -= (factor - 1) / (2 * factor)  # a block's middle lies between pixels
    return K


def grid_nodes(size: int) -> Tensor:
    """World points `(N ** 3, 3)` of the nodes of a `RadianceGrid` of N along each axis."""
    axis = torch.linspace(-VOLUME_HALF_SIDE, VOLUME_HALF_SIDE, size)
    return torch.cartesian_prod(axis, axis, axis)


@dataclass(frozen=True, kw_only=True)
class RadianceGrid:
    """Density and colour of one object on a cubic grid, world axes, corners at the cube's."""

    density: Tensor
    """`(N, N, N)` along x, y, z: absorption for each world unit."""
    rgb: Tensor
    """`(3, N, N, N)` sRGB 0..1."""

    def render(self, c2w: Tensor, K: Tensor, size_px: int, num_samples: int) -> Tensor:
        """Views on white, `(V, 4, S, S)`: sRGB 0..1 and coverage 0..1.

        Args:
            c2w: `(V, 4, 4)`, OpenCV axes.
            K: `(3, 3)` for views of `size_px`; pixel `(x, y)` has its centre at `(x, y)`.
            size_px: S.
            num_samples: Along each ray.
        """
        samples, step = ray_samples(K, size_px, num_samples)
        points = samples @ c2w[:, None, :3, :3].mT + c2w[:, None, None, :3, 3]
        density = self._sampled(self.density[None], points)[:, 0]
        is_seen = ray_shares(density, step) > MIN_SHARE
        rgb = points.new_zeros(3, *is_seen.shape)
        rgb[:, is_seen] = self._sampled(self.rgb, points[is_seen][None])[0]
        return composite(density, rgb, step).movedim(0, 1).reshape(-1, 4, size_px, size_px)

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Density `(...)` and sRGB `(3, ...)` at world points `(..., 3)`; nothing outside."""
        values = torch.cat([self.density[None], self.rgb])
        density, *rgb = self._sampled(values, points.reshape(1, -1, 3))[0]
        shape = points.shape[:-1]
        return density.reshape(shape), torch.stack(rgb).reshape(3, *shape)

    @staticmethod
    def _sampled(values: Tensor, points: Tensor) -> Tensor:
        """`(V, C, ...)` of a volume `(C, N, N, N)` at world points `(V, ..., 3)`, 0 outside.

        The V parts are looked up in parallel.
        """
        num_parts = len(points)
        grid = (points / VOLUME_HALF_SIDE).flip(-1).reshape(num_parts, -1, 1, 1, 3)
        sampled = F.grid_sample(values.expand(num_parts, *values.shape), grid, align_corners=True)
        return sampled.reshape(num_parts, len(values), *points.shape[1:-1])


def ray_shares(density: Tensor, step: float) -> Tensor:
    """Which share of a ray's light each of its samples absorbs, `(..., D)`.

    Args:
        density: `(..., D)` absorption for each world unit, nearest sample first.
        step: World units between samples.
    """
    through = torch.exp(-step * torch.cumsum(density, dim=-1))
    return torch.cat([torch.ones_like(through[..., :1]), through[..., :-1]], dim=-1) - through


def composite(density: Tensor, rgb: Tensor, step: float) -> Tensor:
    """Colour on white and coverage `(4, ...)` of rays.

    Args:
        density: `(..., D)` absorption for each world unit, nearest sample first.
        rgb: `(3, ..., D)`.
        step: World units between samples.
    """
    shares = ray_shares(density, step)
    coverage = shares.sum(-1)
    color = (shares * rgb).sum(-1) + (1.0 - coverage)
    return torch.cat([color, coverage[None]])
