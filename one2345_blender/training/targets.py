# SPDX-License-Identifier: GPL-3.0-or-later
"""Truncated signed distance of any point from the depth maps of one rig.

No mesh is needed, so open and self-intersecting models serve as well as closed ones: a point is
outside where any view sees through it, its distance is the one to the nearest seen surface point,
and sheets without thickness get some, or they would not be in the field at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

TRUNCATION = 0.12
"""World units: about five voxels of the 48^3 volume."""
DEPTH_TOLERANCE = 0.006
"""World units: a point this close behind a depth sample may still be in front of the surface."""
THIN_DEPTH = 0.02
"""World units: a surface point is thin if the point this far behind it is outside."""
THIN_OFFSET = 0.013
"""World units: half the thickness that thin surfaces get, half a voxel of the 48^3 volume."""
THIN_VOTERS = 8
THIN_SHARE = 0.7
"""Of the nearest surface points that must look thin too."""
MAX_SURFACE_POINTS = 16_000


@dataclass(frozen=True, kw_only=True)
class DepthRig:
    """The depth maps of one rig and their cameras."""

    depth: Tensor
    """(V,H,W) float32 along the view axis, world units; 0 = background."""
    c2w: Tensor
    """(V,4,4) float32, OpenCV axes."""
    K: Tensor
    """(3,3) float32, pixels."""


@dataclass(frozen=True, kw_only=True)
class SurfacePoints:
    """Points of the surface that some view sees, one for each chosen pixel."""

    points: Tensor
    """(N,3) world."""
    view: Tensor
    """(N,) int64."""
    pixel: Tensor
    """(N,2) int64 row and column."""


def unproject(rig: DepthRig, limit: int, generator: torch.Generator) -> SurfacePoints:
    """At most `limit` random foreground pixels of all views as world points."""
    seen = rig.depth.nonzero()  # (N,3) view, row, column
    if len(seen) > limit:
        seen = seen[torch.randperm(len(seen), generator=generator)[:limit]]
    view, row, column = seen.unbind(1)
    z = rig.depth[view, row, column]
    pixels = torch.stack([column * z, row * z, z], dim=1).float()
    camera = pixels @ torch.linalg.inv(rig.K).T
    pose = rig.c2w[view]
    points = torch.einsum("nij,nj->ni", pose[:, :3, :3], camera) + pose[:, :3, 3]
    return SurfacePoints(points=points, view=view, pixel=torch.stack([row, column], dim=1))


def free_space(rig: DepthRig, points: Tensor) -> Tensor:
    """(P,) how far each world point (P,3) lies in front of the surface in its most revealing view.

    Positive: some view sees through the point, or none shows it. Background counts as far away;
    depth is interpolated between pixels unless they belong to different surfaces.
    """
    w2c = torch.linalg.inv(rig.c2w)
    camera = torch.einsum("vij,pj->vpi", w2c[:, :3, :3], points) + w2c[:, None, :3, 3]
    projected = camera @ rig.K.T
    z = projected[..., 2]
    size = torch.tensor(rig.depth.shape[:0:-1])  # (W,H)
    grid = (2 * projected[..., :2] / z[..., None] / (size - 1) - 1)[:, None]
    far = torch.where(rig.depth > 0, rig.depth, torch.tensor(10.0))[:, None]
    nearest = F.grid_sample(far, grid, mode="nearest", padding_mode="border", align_corners=True)
    smooth = F.grid_sample(far, grid, mode="bilinear", padding_mode="border", align_corners=True)
    same_surface = (smooth - nearest).abs() < DEPTH_TOLERANCE * 4
    depth = torch.where(same_surface, smooth, nearest)[:, 0, 0]
    inside_image = (grid[:, 0].abs() <= 1).all(-1)
    in_front = torch.where(inside_image, depth - z, torch.tensor(-torch.inf)).amax(0)
    return torch.where(inside_image.any(0), in_front, torch.tensor(torch.inf))


class SdfTarget:
    """The truncated signed distance of one rig's object, world units, negative inside."""

    def __init__(self, rig: DepthRig, generator: torch.Generator) -> None:
        self.rig = rig
        self.surface = unproject(rig, MAX_SURFACE_POINTS, generator)
        camera_centres = rig.c2w[self.surface.view, :3, 3]
        rays = F.normalize(self.surface.points - camera_centres, dim=1)
        behind = self.surface.points + THIN_DEPTH * rays
        thin = (free_space(rig, behind) > DEPTH_TOLERANCE).numpy()
        points = self.surface.points.numpy()
        self._tree = cKDTree(points)
        # solid objects look thin along grazing rays; other views of the same place outvote those
        _, neighbours = self._tree.query(points[thin], k=min(THIN_VOTERS, len(points)))
        thin_points = points[thin][thin[neighbours].reshape(thin.sum(), -1).mean(1) > THIN_SHARE]
        self._thin_tree = cKDTree(thin_points) if len(thin_points) else None

    def __call__(self, points: Tensor) -> Tensor:
        """(P,) at world points (P,3)."""
        query = points.numpy()
        outside = (free_space(self.rig, points) > DEPTH_TOLERANCE).numpy()
        distance = _distance(self._tree, query)
        sdf = np.where(outside, distance, -distance)
        if self._thin_tree is not None:
            to_thin = _distance(self._thin_tree, query)
            sdf = np.where(to_thin < TRUNCATION, np.minimum(sdf, to_thin - THIN_OFFSET), sdf)
        return torch.from_numpy(sdf.clip(-TRUNCATION, TRUNCATION).astype(np.float32))


def _distance(tree: cKDTree, query: NDArray[np.float32]) -> NDArray[np.float64]:
    distance, _ = tree.query(query, distance_upper_bound=TRUNCATION)
    return np.minimum(distance, TRUNCATION)
