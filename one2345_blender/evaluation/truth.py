# SPDX-License-Identifier: GPL-3.0-or-later
"""What an object of a test set really looks like: its surface, its views, its size."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import trimesh
from numpy.typing import NDArray

from ..contracts.cameras import Viewpoint, c2w_from_viewpoints, method_intrinsics, px_from_world
from ..contracts.errors import One2345Error
from ..pipeline.view_schedule import method_viewpoints
from ..training.asset_readers.textured_model import TexturedModel
from ..training.rasterizer import Rasterizer, RenderedView
from ..training.renders import RenderedRigs, Rig, draw_rig, survey_viewpoints
from .surface_scores import NUM_POINTS, sample_points

NOVEL_VIEWPOINTS = tuple(
    Viewpoint(name=f"novel_{azimuth}_{elevation}", azimuth_deg=azimuth, elevation_deg=elevation)
    for elevation in (-10.0, 20.0, 50.0)
    for azimuth in np.arange(15.0, 360.0, 45.0)
)
"""24 views that the method never asks for."""
SIDE_VIEWPOINTS = tuple(
    Viewpoint(name=f"side_{azimuth}", azimuth_deg=azimuth, elevation_deg=20.0)
    for azimuth in (0.0, 90.0, 180.0, 270.0)
)
"""For pictures."""

NUM_SEEING_VIEWS = 64
SEEING_SIZE_PX = 128
SEEN_WITHIN = 0.012
"""World units, between a surface point and the depth map: a pixel and a half."""
MAX_DEPTH_DIFFERENCE = 0.004
MIN_MASK_AGREEMENT = 0.97


class TruthError(One2345Error):
    """A stored render and its model do not belong together."""

    code = "truth"


@dataclass(frozen=True, kw_only=True)
class TrueObject:
    """One object in the world frame of its first rig, where the input camera is at azimuth 0."""

    asset_id: str
    elevation_deg: float
    """Of the input view."""
    rgb: NDArray[np.uint8]
    """`(40, S, S, 3)` the method's views, rendered, on white."""
    mask: NDArray[np.uint8]
    """`(S, S)` coverage of the input view, 0..255."""
    surface: trimesh.Trimesh
    """The whole model, what is hidden inside it too."""
    points: NDArray[np.float64]
    """`(NUM_POINTS, 3)` uniform on what can be seen of the surface from anywhere outside."""
    seen_share: float
    """Of the surface's area, 0..1."""
    world_from_box: NDArray[np.float64]
    """`(4, 4)` takes the cube [-1, 1]^3 to the model's own bounding box."""
    novel_rgb: NDArray[np.uint8]
    """`(24, S, S, 3)` at `NOVEL_VIEWPOINTS`."""
    sides_rgb: NDArray[np.uint8]
    """`(4, S, S, 3)` at `SIDE_VIEWPOINTS`."""

    @property
    def is_watertight(self) -> bool:
        """Whether the model has an inside."""
        return bool(self.surface.is_volume)


def read_truth(
    asset_id: str, model: TexturedModel, rigs: RenderedRigs, *, seed_text: str, size_px: int
) -> TrueObject:
    """The object behind the first rig of stored renders.

    Args:
        asset_id: Its name.
        model: What was rendered.
        rigs: The renders.
        seed_text: What the renders were made with.
        size_px: Of the pictures that are wanted.

    Raises:
        TruthError: The model, drawn again, does not give the stored input view's depth.
        EnvironmentMissingError: OpenGL is missing.
    """
    with Rasterizer(rigs.rgb.shape[-2]) as rasterizer:
        rasterizer.set_model(model)
        rig = draw_rig(model.points, rasterizer, rig_index=0, seed_text=seed_text)
        _check_depth(asset_id, rig, rigs, rasterizer)
    surface = _surface(model, rig)
    with Rasterizer(SEEING_SIZE_PX) as rasterizer:
        rasterizer.set_model(model)
        points, seen_share = _seen_points(surface, rig, rasterizer)
    with Rasterizer(size_px) as rasterizer:
        rasterizer.set_model(model)
        views = _draw(method_viewpoints(rig.elevation_deg), rig, rasterizer)
        novel_views = _draw(NOVEL_VIEWPOINTS, rig, rasterizer)
        sides = _draw(SIDE_VIEWPOINTS, rig, rasterizer)
    return TrueObject(
        asset_id=asset_id,
        elevation_deg=rig.elevation_deg,
        rgb=np.array([view.rgb for view in views]),
        mask=views[0].mask,
        surface=surface,
        points=points,
        seen_share=seen_share,
        world_from_box=rig.world_from_model @ _box(model),
        novel_rgb=np.array([view.rgb for view in novel_views]),
        sides_rgb=np.array([view.rgb for view in sides]),
    )


def _check_depth(asset_id: str, rig: Rig, rigs: RenderedRigs, rasterizer: Rasterizer) -> None:
    (view,) = _draw(method_viewpoints(rig.elevation_deg)[:1], rig, rasterizer)
    stored_mask = rigs.mask[0, 0] > 0
    both = stored_mask & (view.mask > 0)
    agreement = both.sum() / max((stored_mask | (view.mask > 0)).sum(), 1)
    difference = (
        float(np.median(np.abs(view.depth[both] - rigs.depth[0, 0][both]))) if both.any() else 0.0
    )
    if agreement < MIN_MASK_AGREEMENT or difference > MAX_DEPTH_DIFFERENCE:
        raise TruthError(
            f"Expected the stored render of {asset_id} to show its model, but their outlines agree "
            f"to {100 * agreement:.0f} % and their depths differ by {difference:.3f}.",
            hint="Render the data again from the packages that are installed now.",
        )


def _surface(model: TexturedModel, rig: Rig) -> trimesh.Trimesh:
    """All triangles in the rig's world, equal corners joined; closed ones wound outwards."""
    corners = np.concatenate([part.positions for part in model.parts])
    mesh = trimesh.Trimesh(corners, np.arange(len(corners)).reshape(-1, 3), process=True)
    mesh.update_faces(mesh.nondegenerate_faces())
    mesh.update_faces(mesh.unique_faces())  # drawn for both sides
    if mesh.is_watertight and not mesh.is_volume:
        trimesh.repair.fix_normals(mesh, multibody=True)
    return mesh.apply_transform(rig.world_from_model)


def _box(model: TexturedModel) -> NDArray[np.float64]:
    """`(4, 4)` from the cube [-1, 1]^3 to the model's bounding box, model frame."""
    corners = np.concatenate([part.positions for part in model.parts])
    low, high = corners.min(0), corners.max(0)
    matrix = np.diag([*(high - low) / 2.0, 1.0])
    matrix[:3, 3] = (low + high) / 2.0
    return matrix


def _seen_points(
    surface: trimesh.Trimesh, rig: Rig, rasterizer: Rasterizer
) -> tuple[NDArray[np.float64], float]:
    """`NUM_POINTS` points that some survey camera sees, and their share of all points drawn."""
    viewpoints = survey_viewpoints(NUM_SEEING_VIEWS)
    cameras = c2w_from_viewpoints(viewpoints)
    K = method_intrinsics(rasterizer.size_px)
    depths = [view.depth for view in _draw(viewpoints, rig, rasterizer)]
    kept: list[NDArray[np.float64]] = []
    num_drawn = 0
    while sum(map(len, kept)) < NUM_POINTS:
        points = sample_points(surface, NUM_POINTS, seed=len(kept))
        is_seen = np.zeros(len(points), bool)
        for c2w, depth_map in zip(cameras, depths, strict=True):
            px, depth = px_from_world(points, c2w, K)
            column, row = np.rint(px).astype(int).clip(0, rasterizer.size_px - 1).T
            is_seen |= np.abs(depth_map[row, column] - depth) < SEEN_WITHIN
        kept.append(points[is_seen])
        num_drawn += len(points)
    seen = np.concatenate(kept)
    return seen[:NUM_POINTS], len(seen) / num_drawn


def _draw(viewpoints: Sequence[Viewpoint], rig: Rig, rasterizer: Rasterizer) -> list[RenderedView]:
    """The model that the rasterizer holds, as it stands in the rig, in the rig's light."""
    K = method_intrinsics(rasterizer.size_px)
    return [
        rasterizer.render(c2w, K, world_from_model=rig.world_from_model, lighting=rig.lighting)
        for c2w in c2w_from_viewpoints(viewpoints)
    ]
