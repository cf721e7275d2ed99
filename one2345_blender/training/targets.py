# SPDX-License-Identifier: GPL-3.0-or-later
"""Truncated signed distance of any point from the depth maps of one rig.

No mesh is needed, so open and self-intersecting models serve as well as closed ones: a point is
outside where any view sees through it, its distance is the one to the nearest seen surface point,
and boards and sheets thinner than a voxel get its thickness, or no volume could hold them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from torch import Tensor
from torch.nn import functional as F

from ..pipeline.lifting.guessed_surface import TRUNCATION
from .framing import MAX_OBJECT_RADIUS

DEPTH_TOLERANCE = 0.006
"""World units: a point this close behind a depth sample may still be in front of the surface."""
VIEWS_AT_ONCE = 12
"""Few see through most of what is outside; the others need not be asked."""
POINT_SPACING = 0.006
"""World units: of the surface's points, about a pixel."""
THIN_OFFSET = 0.012
"""World units: half the thickness that is given to what is thinner, about half a voxel of the 48^3
volume."""
THICKNESSES = (0.026, 0.02, 0.015, 0.01, 0.005, 0.001)
"""World units: those that are told apart below that."""
MAX_THIN_POINTS = 16_000
THIN_VOTERS = 8
THIN_SHARE = 0.7
"""Of the nearest points that must look thin too."""


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

    def chosen(self, index: Tensor) -> SurfacePoints:
        """Those with these indices."""
        return SurfacePoints(
            points=self.points[index], view=self.view[index], pixel=self.pixel[index]
        )


def unproject(rig: DepthRig, generator: torch.Generator, limit: int | None = None) -> SurfacePoints:
    """The foreground pixels of all views as world points, at most `limit`, in random order."""
    seen = rig.depth.nonzero()  # (N,3) view, row, column
    seen = seen[torch.randperm(len(seen), generator=generator)[:limit]]
    view, row, column = seen.unbind(1)
    z = rig.depth[view, row, column]
    pixels = torch.stack([column * z, row * z, z], dim=1).float()
    camera = pixels @ torch.linalg.inv(rig.K).T
    pose = rig.c2w[view]
    points = torch.einsum("nij,nj->ni", pose[:, :3, :3], camera) + pose[:, :3, 3]
    return SurfacePoints(points=points, view=view, pixel=torch.stack([row, column], dim=1))


def is_seen_through(rig: DepthRig, points: Tensor) -> Tensor:
    """(P,) bool: whether some view shows the surface, or nothing, clearly behind each world point
    (P,3), or none shows where it is.

    Depth is interpolated between pixels unless they belong to different surfaces.
    """
    is_free = torch.zeros(len(points), dtype=torch.bool)
    is_shown = torch.zeros_like(is_free)
    left = torch.arange(len(points))
    num_parts = -(-len(rig.depth) // VIEWS_AT_ONCE)
    for part in range(num_parts):  # each from all around: most points are decided by the first
        views = slice(part, None, num_parts)
        in_front, is_inside = _in_front(
            DepthRig(depth=rig.depth[views], c2w=rig.c2w[views], K=rig.K), points[left]
        )
        is_shown[left] |= is_inside.any(0)
        seen_through = (in_front > DEPTH_TOLERANCE).any(0)
        is_free[left[seen_through]] = True
        left = left[~seen_through]
    return is_free | ~is_shown


def _in_front(rig: DepthRig, points: Tensor) -> tuple[Tensor, Tensor]:
    """How far the points lie in front of what each view shows there, (V,P), -inf beside its
    picture; and whether they lie in it."""
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
    is_inside = (grid[:, 0].abs() <= 1).all(-1)
    return torch.where(is_inside, depth - z, torch.tensor(-torch.inf)), is_inside


class SdfTarget:
    """The truncated signed distance of one rig's object, world units, negative inside.

    Args:
        rig: Depth maps that show the object from all around: what none of them sees through is
            inside.
        generator: Draws the points that are tried for what is thin.
    """

    def __init__(self, rig: DepthRig, generator: torch.Generator) -> None:
        self.rig = rig
        self.surface = _evenly(unproject(rig, generator))
        self._tree = cKDTree(self.surface.points.numpy())
        middle = self._thin_middle(generator)
        self._thin_tree = cKDTree(middle) if len(middle) else None

    def __call__(self, points: Tensor) -> Tensor:
        """(P,) at world points (P,3)."""
        query = points.numpy()
        outside = is_seen_through(self.rig, points).numpy()
        outside |= np.linalg.norm(query, axis=1) > MAX_OBJECT_RADIUS
        distance = _distance(self._tree, query)
        sdf = np.where(outside, distance, -distance)
        if self._thin_tree is not None:
            to_thin = _distance(self._thin_tree, query)
            sdf = np.where(to_thin < TRUNCATION, np.minimum(sdf, to_thin - THIN_OFFSET), sdf)
        return torch.from_numpy(sdf.clip(-TRUNCATION, TRUNCATION).astype(np.float32))

    def _thin_middle(self, generator: torch.Generator) -> NDArray[np.float32]:
        """(N,3) in the middle of what is thinner than `THICKNESSES`.

        The place just that far behind a surface is outside there. What looks so at an edge alone is
        outvoted.
        """
        chosen = torch.randperm(len(self.surface.points), generator=generator)[:MAX_THIN_POINTS]
        tried = self.surface.chosen(chosen)
        points, inwards = tried.points, -surface_normals(self.rig, tried)
        thickness = torch.full((len(points),), torch.inf)
        thin = torch.arange(len(points))
        for candidate in THICKNESSES:
            behind = points[thin] + (candidate + DEPTH_TOLERANCE) * inwards[thin]
            thin = thin[is_seen_through(self.rig, behind)]
            thickness[thin] = candidate
        seems_thin = thickness.isfinite()
        _, neighbours = cKDTree(points.numpy()).query(
            points[seems_thin].numpy(), k=range(1, min(THIN_VOTERS, len(points)) + 1)
        )
        is_sure = seems_thin[torch.from_numpy(neighbours)].float().mean(1) > THIN_SHARE
        middle = points + 0.5 * torch.where(seems_thin, thickness, 0.0)[:, None] * inwards
        return middle[seems_thin][is_sure].numpy()


def surface_normals(rig: DepthRig, surface: SurfacePoints) -> Tensor:
    """(N,3) unit normals towards the camera, world axes: across from neighbouring pixels of the
    same surface; towards the camera itself where there are none."""
    size, unprojection = rig.depth.shape[-1], torch.linalg.inv(rig.K).T

    def camera_point(rows: int, columns: int) -> tuple[Tensor, Tensor]:
        row = (surface.pixel[:, 0] + rows).clamp(0, size - 1)
        column = (surface.pixel[:, 1] + columns).clamp(0, size - 1)
        z = rig.depth[surface.view, row, column]
        return torch.stack([column * z, row * z, z], dim=1).float() @ unprojection, z

    here, depth = camera_point(0, 0)

    def along(rows: int, columns: int) -> Tensor:
        ahead, z_ahead = camera_point(rows, columns)
        back, z_back = camera_point(-rows, -columns)
        step_ahead = torch.where(z_ahead > 0, (z_ahead - depth).abs(), torch.inf)
        step_back = torch.where(z_back > 0, (z_back - depth).abs(), torch.inf)
        return torch.where((step_ahead <= step_back)[:, None], ahead - here, here - back)

    normal = F.normalize(torch.linalg.cross(along(0, 1), along(1, 0)), dim=1)
    towards = F.normalize(-here, dim=1)
    normal = torch.where(normal.norm(dim=1, keepdim=True) > 0.5, normal, towards)
    normal = torch.where((normal * towards).sum(1, keepdim=True) < 0, -normal, normal)
    return torch.einsum("nij,nj->ni", rig.c2w[surface.view, :3, :3], normal)


def _evenly(surface: SurfacePoints) -> SurfacePoints:
    """One point in each cell of `POINT_SPACING`: pixels alone would follow the cameras' distances
    and angles, and leave undersides bare."""
    cell = (surface.points / POINT_SPACING).floor().long()
    cell = cell - cell.amin(0)
    wide = cell.amax(0) + 1
    index = (cell[:, 0] * wide[1] + cell[:, 1]) * wide[2] + cell[:, 2]
    _, first = np.unique(index.numpy(), return_index=True)
    return surface.chosen(torch.from_numpy(first))


def _distance(tree: cKDTree, query: NDArray[np.float32]) -> NDArray[np.float64]:
    distance, _ = tree.query(query, distance_upper_bound=TRUNCATION)
    return np.minimum(distance, TRUNCATION)
