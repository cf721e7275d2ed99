# SPDX-License-Identifier: GPL-3.0-or-later
"""The ways to a mesh that are compared: the whole pipeline, parts of it, simple shapes."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray

from ..contracts.cameras import PosedImages, method_rig
from ..contracts.errors import EmptySurfaceError
from ..contracts.job import ElevationEstimate
from ..contracts.mesh import ColoredMesh
from ..contracts.progress import ignore_events
from ..pipeline.foreground import ForegroundImage
from ..pipeline.job_record import JobRecord
from ..pipeline.lifting.guessed_surface import SURFACE_LOGIT
from ..pipeline.lifting.radiance import VOLUME_HALF_SIDE, RadianceGrid, inside_logit
from ..pipeline.meshing import zero_level_set
from ..pipeline.pipeline_one2345 import One2345Pipeline
from ..pipeline.silhouette import Silhouette
from ..pipeline.view_schedule import NUM_STAGE1_VIEWS, method_viewpoints
from ..training.cutouts import rgba_from_render
from .baseline_shapes import box, ellipsoid, visual_hull
from .truth import TrueObject


@dataclass(frozen=True, kw_only=True)
class Attempt:
    """A mesh of one object, and the picture and camera it was made from."""

    mesh: ColoredMesh | None
    """In the world frame of the method that made it; None where it found no surface."""
    rgb: NDArray[np.uint8]
    """`(S, S, 3)` the input on white, as the method saw it."""
    mask: NDArray[np.bool_]
    """`(S, S)` of the object in the input."""
    elevation_deg: float
    """Where the method thinks the input camera is."""
    world_from_mesh: float = 1.0
    """Size of the object in the true rig's world over that in the mesh's."""
    elevation: ElevationEstimate | None = None
    seconds: float | None = None
    views_rgb: NDArray[np.uint8] | None = field(default=None, repr=False)
    """`(8, S, S, 3)` the stage-1 views, where it makes any."""

    @property
    def mesh_in_world(self) -> ColoredMesh | None:
        """The mesh at the size that the object has in the true rig's world."""
        return None if self.mesh is None else self.mesh.scaled(self.world_from_mesh)


PIPELINE = "whole pipeline"
"""Name of the method that is judged."""
Method = Callable[[TrueObject], Attempt]


def whole_pipeline(
    pipeline: One2345Pipeline, *, seed: int, elevation_error_deg: float | None
) -> Method:
    """Picture to mesh.

    Args:
        seed: Of the conversion.
        elevation_error_deg: The elevation is given, wrong by so much; None: it is estimated.
    """

    def convert(truth: TrueObject) -> Attempt:
        record = JobRecord(ignore_events)
        given_deg = (
            None if elevation_error_deg is None else truth.elevation_deg + elevation_error_deg
        )
        image = rgba_from_render(truth.rgb[0], truth.mask)
        try:
            output = pipeline(image, seed=seed, elevation_deg=given_deg, on_event=record)
        except EmptySurfaceError:
            return replace(_nothing(truth), seconds=record.total_seconds())
        return replace(
            of_prepared(output.foreground, output.elevation, truth),
            mesh=output.mesh,
            seconds=record.total_seconds(),
            views_rgb=output.views.rgb[:NUM_STAGE1_VIEWS],
        )

    return convert


def true_views(pipeline: One2345Pipeline, chosen: Callable[[PosedImages], PosedImages]) -> Method:
    """The reconstruction alone, from the `chosen` ones of 40 renders with their true cameras."""

    def reconstruct(truth: TrueObject) -> Attempt:
        cameras = method_rig(method_viewpoints(truth.elevation_deg), truth.rgb.shape[2])
        views = PosedImages(rgb=truth.rgb, cameras=cameras, reference_c2w=cameras.c2w[0])
        record = JobRecord(ignore_events)
        try:
            mesh = pipeline.reconstruct(chosen(views), pipeline.config.grid_resolution, record)
        except EmptySurfaceError:
            return replace(_nothing(truth), seconds=record.total_seconds())
        return replace(_nothing(truth), mesh=mesh, seconds=record.total_seconds())

    return reconstruct


def guess_alone(pipeline: One2345Pipeline) -> Method:
    """The surface of what the photo is lifted to: no views of it, no reconstruction.

    Args:
        pipeline: Of a preset that has networks for it.
    """

    def lift(truth: TrueObject) -> Attempt:
        photo = pipeline.prepare(rgba_from_render(truth.rgb[0], truth.mask))
        guessed = pipeline.guess(photo)
        assert guessed is not None
        attempt = of_prepared(photo, guessed.elevation, truth)
        try:
            return replace(attempt, mesh=guessed_surface(guessed.grid))
        except EmptySurfaceError:
            return attempt

    return lift


def guessed_surface(grid: RadianceGrid) -> ColoredMesh:
    """The surface of a lifted volume, in its colours.

    Raises:
        EmptySurfaceError: It has none.
    """
    nodes, faces = zero_level_set(SURFACE_LOGIT - inside_logit(grid.density).cpu().numpy())
    vertices = VOLUME_HALF_SIDE * nodes
    _, rgb = grid.at(torch.from_numpy(vertices).to(grid.rgb))
    opaque = torch.ones_like(rgb[:1])
    colors = (torch.cat([rgb, opaque]).T.clamp(0, 1) * 255).to(torch.uint8)
    return ColoredMesh(vertices=vertices, faces=faces, vertex_colors=colors.cpu().numpy())


def outline_hull(truth: TrueObject) -> Attempt:
    """The visual hull of the input's silhouette, as deep as the true object."""
    given = _nothing(truth)
    cameras = method_rig(method_viewpoints(truth.elevation_deg)[:1], len(given.mask))
    silhouette = Silhouette(mask=given.mask, c2w=cameras.c2w[0], K=cameras.K)
    return replace(given, mesh=visual_hull(silhouette, given.rgb, truth.points))


def true_box(truth: TrueObject) -> Attempt:
    """The box of the true extents, in the input's mean colour."""
    given = _nothing(truth)
    return replace(given, mesh=box(truth.world_from_box, _mean_color(given)))


def true_ellipsoid(truth: TrueObject) -> Attempt:
    """The ellipsoid of the true extents, in the input's mean colour."""
    given = _nothing(truth)
    return replace(given, mesh=ellipsoid(truth.world_from_box, _mean_color(given)))


def of_prepared(photo: ForegroundImage, elevation: ElevationEstimate, truth: TrueObject) -> Attempt:
    """No mesh yet, in the world of a method that prepared the input as a photo."""
    return Attempt(
        mesh=None,
        rgb=photo.rgb,
        mask=photo.mask,
        elevation_deg=elevation.elevation_deg,
        world_from_mesh=true_scale(photo, len(truth.mask)),
        elevation=elevation,
    )


def true_scale(photo: ForegroundImage, size_px: int) -> float:
    """Size of the object in the true rig's world over that in the world of a method that prepared a
    render of `size_px` as a photo, which enlarges it."""
    _, _, side_px = photo.crop_box_px
    return side_px / size_px


def _nothing(truth: TrueObject) -> Attempt:
    """No mesh yet, in the true world."""
    return Attempt(
        mesh=None, rgb=truth.rgb[0], mask=truth.mask > 127, elevation_deg=truth.elevation_deg
    )


def _mean_color(given: Attempt) -> NDArray[np.uint8]:
    return given.rgb[given.mask].mean(0).astype(np.uint8)
