# SPDX-License-Identifier: GPL-3.0-or-later
"""The photo's colours on the surface that it shows, and nowhere else."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from one2345_blender.contracts.cameras import Viewpoint, c2w_from_viewpoints, method_intrinsics
from one2345_blender.pipeline.photo_colors import PhotoColors
from one2345_blender.pipeline.reconstruction.frame import sphere_bounds, volume_frame
from one2345_blender.pipeline.silhouette import Silhouette

SIZE_PX = 64
RESOLUTION = 48
HALF_SIDE = 0.62
RADIUS = 0.5
"""Of a ball, volume units."""
RED, GREY = torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.5, 0.5, 0.5])


@pytest.fixture
def photo() -> PhotoColors:
    """A photo that is red all over, of an object as large as the picture."""
    (c2w,) = c2w_from_viewpoints([Viewpoint(name="0", azimuth_deg=0, elevation_deg=0)])
    K = method_intrinsics(SIZE_PX)
    rgb = np.zeros((SIZE_PX, SIZE_PX, 3), np.uint8)
    rgb[..., 0] = 255
    return PhotoColors(
        rgb=rgb, silhouette=Silhouette(mask=np.ones((SIZE_PX, SIZE_PX), bool), c2w=c2w, K=K)
    )


def ball_colors(photo: PhotoColors, extra_sdf: torch.Tensor | None = None) -> tuple:
    """Colours and unit normals, towards the camera first, of points on a grey ball."""
    c2w = torch.from_numpy(photo.silhouette.c2w)
    centre, radius = sphere_bounds(c2w, HALF_SIDE)
    K = torch.from_numpy(photo.silhouette.K)
    frame = volume_frame(c2w[None], K, c2w, centre, radius)
    axis = torch.linspace(-1, 1, RESOLUTION)
    nodes = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij"), dim=-1)
    sdf = nodes.norm(dim=-1) - RADIUS
    if extra_sdf is not None:
        sdf = torch.minimum(sdf, extra_sdf)
    normals = F.normalize(torch.randn(4000, 3, generator=torch.Generator().manual_seed(0)), dim=1)
    grey = GREY.expand(len(normals), 3)
    colors = photo.blend(grey, RADIUS * normals, normals, sdf, frame)
    return colors, -normals[:, 2]  # the reference camera looks along +z


def test_the_side_that_the_photo_shows_is_the_photo(photo: PhotoColors) -> None:
    colors, facing = ball_colors(photo)
    torch.testing.assert_close(colors[facing > 0.8], RED.expand_as(colors[facing > 0.8]))
    torch.testing.assert_close(colors[facing < 0.0], GREY.expand_as(colors[facing < 0.0]))


def test_what_is_hidden_keeps_its_colour(photo: PhotoColors) -> None:
    """A plate before the ball's left half hides it from the photo."""
    axis = torch.linspace(-1, 1, RESOLUTION)
    x, _, z = torch.meshgrid(axis, axis, axis, indexing="ij")
    plate = torch.maximum((z + 0.8).abs() - 0.06, x)
    colors, facing = ball_colors(photo, plate)
    plain, _ = ball_colors(photo)
    is_red = (plain - RED).abs().amax(1) < 1e-3
    hidden = (colors - GREY).abs().amax(1) < 1e-3
    assert 0.35 < (is_red & hidden).sum() / is_red.sum() < 0.65
    assert (is_red & ~hidden & (facing > 0.8)).any()


def test_colours_stay_off_the_outline(photo: PhotoColors) -> None:
    """Where the photo's mask ends the background may shine in: the views' colours stay."""
    mask = np.zeros((SIZE_PX, SIZE_PX), bool)
    mask[:, : SIZE_PX // 2] = True
    narrow = PhotoColors(
        rgb=photo.rgb,
        silhouette=Silhouette(mask=mask, c2w=photo.silhouette.c2w, K=photo.silhouette.K),
    )
    colors, _ = ball_colors(narrow)
    plain, _ = ball_colors(photo)
    was_red = (plain - RED).abs().amax(1) < 1e-3
    is_red = (colors - RED).abs().amax(1) < 1e-3
    assert not (is_red & ~was_red).any()
    assert 0.25 < (is_red & was_red).sum() / was_red.sum() < 0.5
