# SPDX-License-Identifier: GPL-3.0-or-later
"""A photo lifted to a volume: where things stand, and what other cameras see of them."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from one2345_blender.contracts.cameras import (
    FOCAL_PER_SIDE,
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    px_from_world,
)
from one2345_blender.contracts.job import ElevationEstimate
from one2345_blender.pipeline.lifting.guessed_object import (
    GuessedObject,
    guess_object,
)
from one2345_blender.pipeline.lifting.photo_elevation import ELEVATION_BINS_DEG, PhotoElevation
from one2345_blender.pipeline.lifting.photo_lifter import (
    BIN_LENGTH,
    EMPTY_LOGIT,
    LiftedPhoto,
    PhotoLifter,
    photo_coordinates,
)
from one2345_blender.pipeline.lifting.radiance import (
    VOLUME_HALF_SIDE,
    RadianceGrid,
    composite,
    ray_samples,
)
from one2345_blender.pipeline.view_schedule import INPUT_OFFSET, PoseOffset

SIZE_PX = 64
NUM_DEPTHS = 48
BALL_RADIUS = 0.25
BALL_CENTRE = np.array([0.1, 0.05, -0.08])
"""World; beside the axis, so that turning the camera moves it in the picture."""


def tiny_lifter() -> PhotoLifter:
    return PhotoLifter(
        image_size_px=64, num_depths=8, block_out_channels=(16, 16, 16, 32), attention_head_dim=8
    )


def lifted_ball(elevation_deg: float) -> LiftedPhoto:
    """What a perfect network would make of a red ball's photo."""
    c2w = c2w_from_viewpoints([Viewpoint(name="", azimuth_deg=0.0, elevation_deg=elevation_deg)])[0]
    centre = torch.from_numpy((BALL_CENTRE - c2w[:3, 3]) @ c2w[:3, :3]).float()
    unit = 2 * torch.arange(SIZE_PX) / SIZE_PX - 1
    y, x = torch.meshgrid(unit, unit, indexing="ij")
    rays = torch.stack([x, y, torch.full_like(x, 2 * FOCAL_PER_SIDE)], dim=-1)
    rays = rays / rays[..., 2:]
    squared, along = rays.square().sum(-1), rays @ centre
    discriminant = along.square() - squared * (centre.square().sum() - BALL_RADIUS**2)
    cover = (discriminant > 0).float()
    front = (along - discriminant.clamp_min(0).sqrt()) / squared
    depth = front + BIN_LENGTH * (torch.arange(NUM_DEPTHS)[:, None, None] - 0.5)
    distance = (rays * depth[..., None] - centre).norm(dim=-1)
    photo = torch.where(cover > 0, torch.tensor([0.8, 0.1, 0.1])[:, None, None], torch.ones(()))
    color = torch.zeros(1, 4, 1, 1, 1)
    color[:, 3] = 10.0
    return LiftedPhoto(
        front_depth=front[None, None],
        logit=(40.0 * (BALL_RADIUS - distance))[None, None].clamp(-10, 10),
        color=color,
        photo=torch.cat([photo, cover[None]])[None],
        cover=cover[None, None],
    )


def test_photo_coordinates_agree_with_the_cameras() -> None:
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (50, 3))
    c2w = c2w_from_viewpoints([Viewpoint(name="", azimuth_deg=0.0, elevation_deg=35.0)])[0]
    px, _ = px_from_world(points, c2w, method_intrinsics(SIZE_PX))
    before_camera = torch.from_numpy((points - c2w[:3, 3]) @ c2w[:3, :3])
    on_photo = photo_coordinates(before_camera, SIZE_PX).numpy()
    np.testing.assert_allclose((on_photo + 1) * SIZE_PX / 2 - 0.5, px, atol=1e-4)


def test_nothing_lies_before_the_visible_surface() -> None:
    """Points on one ray, whose first bin says outside and whose others say inside."""
    lifted = lifted_ball(0.0)
    logit = torch.full_like(lifted.logit, 5.0)
    logit[:, :, 0] = -5.0
    middle = SIZE_PX // 2 + 6
    front = float(lifted.front_depth[0, 0, middle, middle])
    offset = torch.tensor([-3.0, -0.4, -0.02, 0.02, 0.4, NUM_DEPTHS - 1.5]) * BIN_LENGTH
    slope = (2.0 * middle / SIZE_PX - 1.0) / (2.0 * FOCAL_PER_SIDE)
    depth = front + offset
    points = torch.stack([slope * depth, slope * depth, depth], dim=-1)[None]
    found, _ = replace(lifted, logit=logit).at(points)
    assert (found[0, :3] < 0).all() and (found[0, 3:] > 0).all()
    assert found[0, 0] == EMPTY_LOGIT
    assert abs(float(found[0, 2])) < 0.3  # the zero is at the surface


@pytest.mark.parametrize("elevation_deg", [-10.0, 0.0, 40.0])
def test_ball_is_seen_where_it_stands(elevation_deg: float) -> None:
    """From all around and above, the guess shows the ball where the cameras' matrices put it."""
    guessed = GuessedObject(
        lifted=lifted_ball(elevation_deg),
        elevation=ElevationEstimate.given(elevation_deg),
        size_px=SIZE_PX,
    )
    offsets = [INPUT_OFFSET, PoseOffset(0.0, 90.0), PoseOffset(-20.0, 180.0), PoseOffset(30.0, 300)]
    views = guessed.views(offsets)
    assert views.shape == (4, SIZE_PX, SIZE_PX, 3)
    for offset, view in zip(offsets, views, strict=True):
        camera = Viewpoint(
            name="",
            azimuth_deg=offset.d_azimuth_deg,
            elevation_deg=elevation_deg - offset.d_polar_deg,
        )
        c2w = c2w_from_viewpoints([camera])[0]
        px, depth = px_from_world(BALL_CENTRE[None], c2w, method_intrinsics(SIZE_PX))
        covered = view[..., 1] < 128
        rows, columns = np.nonzero(covered)
        np.testing.assert_allclose([columns.mean(), rows.mean()], px[0], atol=1.5)
        radius_px = BALL_RADIUS / depth[0] * method_intrinsics(SIZE_PX)[0, 0]
        assert np.sqrt(covered.sum() / np.pi) == pytest.approx(radius_px, rel=0.12)
        assert view[rows, columns, 0].mean() > 150


def test_colours_of_unseen_samples_are_not_missed() -> None:
    """Fog with a hole: all samples of all rays, one view at a time, give the same pictures."""
    torch.manual_seed(0)
    axis = torch.linspace(-VOLUME_HALF_SIDE, VOLUME_HALF_SIDE, 24)
    radius = torch.stack(torch.meshgrid(axis, axis, axis, indexing="ij")).norm(dim=0)
    fog = 40.0 * torch.rand(24, 24, 24) * ((radius < 0.5) & (radius > 0.3))
    grid = RadianceGrid(density=fog, rgb=torch.rand(3, 24, 24, 24))
    c2w = torch.from_numpy(
        c2w_from_viewpoints(
            [Viewpoint(name="", azimuth_deg=a, elevation_deg=20.0) for a in (0.0, 130.0)]
        )
    )
    K = torch.from_numpy(method_intrinsics(16))
    samples, step = ray_samples(K, 16, 32)
    for pose, view in zip(c2w, grid.render(c2w, K, 16, 32), strict=True):
        whole = composite(*grid.at(samples @ pose[:3, :3].T + pose[:3, 3]), step)
        torch.testing.assert_close(view, whole.reshape(4, 16, 16), atol=1e-3, rtol=0.0)


def test_background_of_the_photo_stays_empty() -> None:
    lifted = lifted_ball(0.0)
    solid = replace(lifted, logit=torch.full_like(lifted.logit, 10.0))
    guessed = GuessedObject(lifted=solid, elevation=ElevationEstimate.given(0.0), size_px=SIZE_PX)
    covered = guessed.views([INPUT_OFFSET])[0, ..., 1] < 200
    outline = lifted.cover[0, 0].numpy() > 0
    assert (covered & ~outline).sum() < 0.15 * outline.sum()  # a rim of one pixel


def test_networks_give_the_same_guess_for_the_same_photo() -> None:
    torch.manual_seed(0)
    lifter = tiny_lifter()
    elevation = PhotoElevation(image_size_px=32, width=(8, 8), hidden=8)
    lifter.eval(), elevation.eval()
    rgb = np.full((64, 64, 3), 200, np.uint8)
    mask = np.zeros((64, 64), bool)
    mask[16:48, 16:48] = True
    first, second = (guess_object(lifter, elevation, rgb, mask) for _ in range(2))
    assert first.elevation.is_estimated and 0.0 < first.elevation.confidence < 1.0
    assert ELEVATION_BINS_DEG.min() < first.elevation.elevation_deg < ELEVATION_BINS_DEG.max()
    np.testing.assert_array_equal(first.views([INPUT_OFFSET]), second.views([INPUT_OFFSET]))


def test_known_elevation_is_taken() -> None:
    lifter = tiny_lifter()
    elevation = PhotoElevation(image_size_px=32, width=(8, 8), hidden=8)
    rgb, mask = np.full((64, 64, 3), 200, np.uint8), np.ones((64, 64), bool)
    guessed = guess_object(lifter, elevation, rgb, mask, elevation_deg=33.0)
    assert guessed.elevation == ElevationEstimate.given(33.0)
    turned = guessed.seen_from(ElevationEstimate.given(0.0))
    again = guess_object(lifter, elevation, rgb, mask, elevation_deg=0.0)
    torch.testing.assert_close(turned.grid.density, again.grid.density)
