# SPDX-License-Identifier: GPL-3.0-or-later
"""What the lifter and the elevation guess learn from, and that they learn."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_steps import learn, slots

from one2345_blender.contracts.cameras import (
    FOCAL_PER_SIDE,
    method_intrinsics,
)
from one2345_blender.pipeline.lifting.photo_elevation import PhotoElevation
from one2345_blender.pipeline.lifting.photo_lifter import BIN_LENGTH, LiftedPhoto, PhotoLifter
from one2345_blender.pipeline.lifting.radiance import subsampled_intrinsics
from one2345_blender.pipeline.view_schedule import method_viewpoints
from one2345_blender.training.lifting_data import (
    NUM_DEPTHS,
    LiftingPhotos,
    PhotoReader,
    draw_batch,
    join_photos,
    load_photos,
    mirrored_camera,
)
from one2345_blender.training.recolouring import random_blur, random_colours
from one2345_blender.training.renders import RenderedRigs, save_rigs
from one2345_blender.training.train_elevation import ElevationObjective, PosedViews, draw_photos
from one2345_blender.training.train_lifter import LiftingObjective

SIZE_PX = 128
RADIUS = 0.3
ELEVATION_DEG = 30.0


def ball_rigs() -> RenderedRigs:
    """A ball at the origin: its depth map is the same from everywhere, its red tells the view."""
    K = method_intrinsics(SIZE_PX)
    rows, columns = np.mgrid[:SIZE_PX, :SIZE_PX]
    rays = np.stack([columns, rows, np.ones_like(rows)], axis=-1) @ np.linalg.inv(K).T
    a, b, c = (rays**2).sum(-1), -2.0 * 1.2, 1.2**2 - RADIUS**2
    discriminant = b * b - 4 * a * c
    depth = np.where(discriminant > 0, (-b - np.sqrt(np.maximum(discriminant, 0))) / (2 * a), 0)
    mask = depth > 0
    rgb = np.full((1, 40, SIZE_PX, SIZE_PX, 3), 255, np.uint8)
    rgb[0, :, mask] = np.stack([np.arange(40) * 6, np.full(40, 90), np.full(40, 20)], axis=-1)
    return RenderedRigs(
        rgb=rgb,
        mask=np.broadcast_to(255 * mask, rgb.shape[:-1]).astype(np.uint8),
        depth=np.broadcast_to(depth, rgb.shape[:-1]).astype(np.float16),
        elevation_deg=np.array([ELEVATION_DEG], np.float32),
        survey_depth=np.broadcast_to(depth, (1, 32, SIZE_PX, SIZE_PX)).astype(np.float16),
    )


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> LiftingPhotos:
    data_dir: Path = tmp_path_factory.mktemp("data")
    (data_dir / "renders").mkdir()
    save_rigs(ball_rigs(), data_dir / "renders" / "ball.npz")
    return load_photos(data_dir, "ball")


def test_what_lies_behind_the_pixels_is_the_ball(photos: LiftingPhotos) -> None:
    unit = ((2 * np.arange(64) + 0.5) / 64 - 1) / (2 * FOCAL_PER_SIDE)
    y, x = np.meshgrid(unit, unit, indexing="ij")
    bins = BIN_LENGTH * (np.arange(NUM_DEPTHS)[:, None, None] - 0.5)
    for front, bits in zip(photos.front_depth.astype(float), photos.is_inside, strict=True):
        inside = np.unpackbits(bits, axis=-1).astype(bool)
        is_ball = front > 0
        on_surface = np.sqrt((x * front) ** 2 + (y * front) ** 2 + (front - 1.2) ** 2)
        assert np.median(np.abs(on_surface[is_ball] - RADIUS)) < 0.005
        assert not inside[:, ~is_ball].any() and not inside[0].any()
        assert inside[1, is_ball].all()
        depth = front + bins
        distance = np.sqrt((x * depth) ** 2 + (y * depth) ** 2 + (depth - 1.2) ** 2)
        behind = np.broadcast_to(is_ball, inside.shape).copy()
        behind[:2] = False
        assert inside[behind & (distance < RADIUS - 0.03)].mean() > 0.99
        unseen = inside[behind & (distance > RADIUS + 0.03)]
        assert unseen.mean() < 0.05  # what lies below it no view shows


def test_surface_points_lie_on_the_ball_before_every_photo(photos: LiftingPhotos) -> None:
    distance = np.linalg.norm(photos.surface_points.astype(float) - [0.0, 0.0, 1.2], axis=-1)
    np.testing.assert_allclose(distance, RADIUS, atol=0.01)


def test_photos_have_the_elevations_of_their_views(photos: LiftingPhotos) -> None:
    views = method_viewpoints(ELEVATION_DEG)[:8]
    colors = photos.photo[:, SIZE_PX // 2, SIZE_PX // 2, 0] // 6
    expected = [views[index].elevation_deg for index in colors]
    assert colors[0] == 0
    np.testing.assert_allclose(photos.elevation_deg, expected)


def test_a_mirrored_picture_is_what_the_mirrored_camera_sees() -> None:
    mirror, K = mirrored_camera(SIZE_PX), method_intrinsics(SIZE_PX)
    points = np.random.default_rng(0).uniform(-0.4, 0.4, (50, 3))
    points[:, 2] += 1.2

    def picture(before_camera: np.ndarray) -> np.ndarray:
        px = before_camera @ K.T
        return px[:, :2] / px[:, 2:]

    expected = picture(points)
    expected[:, 0] = SIZE_PX - 1 - expected[:, 0]
    np.testing.assert_allclose(picture(points @ mirror[:3, :3].T), expected, atol=1e-4)
    np.testing.assert_allclose(mirror @ mirror, np.eye(4), atol=1e-6)


def test_mirrored_examples_stay_consistent(photos: LiftingPhotos) -> None:
    """In every drawn example the surface points project into the photo's mask."""
    batch = draw_batch(photos, slots(8))
    px = batch.surface_points @ torch.from_numpy(method_intrinsics(SIZE_PX)).T
    column, row = (px[..., :2] / px[..., 2:]).round().long().unbind(-1)
    index = torch.arange(8)[:, None]
    assert (
        batch.photo[index, 3, row, column] > 0
    ).float().mean() > 0.9  # points of the rim may fall beside it


def test_other_views_are_where_the_batch_says(photos: LiftingPhotos) -> None:
    """The ball's surface before the photo's camera, carried to the other one, is in its picture."""
    batch = draw_batch(photos, slots(8))
    view_from_photo = torch.linalg.inv(batch.photo_from_view)
    points = batch.surface_points @ view_from_photo[:, :3, :3].mT + view_from_photo[:, None, :3, 3]
    assert torch.allclose(torch.det(batch.photo_from_view), torch.ones(8), atol=1e-4)
    distance = (points - torch.tensor([0.0, 0.0, 1.2])).norm(dim=-1)
    torch.testing.assert_close(distance, torch.full_like(distance, RADIUS), atol=0.01, rtol=0)
    covered = batch.view[:, 3] > 0.5
    assert (batch.view[:, :3].amin(1)[covered] < 0.9).all()


def test_a_lifted_ball_is_a_ball_from_everywhere(photos: LiftingPhotos) -> None:
    batch = draw_batch(photos, slots(8))
    inside = torch.where(batch.is_inside > 0, 5.0, -5.0)[:, None]
    colors = torch.zeros(8, 4, 8, 64, 64)
    cover = (batch.photo[:, 3:] > 0).float()
    lifted = LiftedPhoto(
        front_depth=torch.where(batch.front_depth > 0, batch.front_depth, 1.2),
        logit=inside,
        color=colors,
        photo=batch.photo,
        cover=cover,
    )
    K = subsampled_intrinsics(32, SIZE_PX // 32)
    views = lifted.render(batch.photo_from_view, K, 32, 48)
    both = torch.minimum(views[:, 3], batch.view[:, 3]).sum((1, 2))
    either = torch.maximum(views[:, 3], batch.view[:, 3]).sum((1, 2))
    assert (both / either > 0.85).all()
    same = lifted.render(torch.eye(4).expand(8, 4, 4), K, 32, 48)
    photo = torch.nn.functional.avg_pool2d(batch.photo, 4)
    assert (same[:, 3] - photo[:, 3]).abs().mean() < 0.03


def test_photos_are_drawn_by_their_chances(photos: LiftingPhotos) -> None:
    chances = np.zeros(len(photos.photo))
    chances[2] = 1.0
    batch = draw_batch(photos, slots(6), chances)
    mirror = mirrored_camera(SIZE_PX)
    drawn = {tuple(pose.flatten().tolist()) for pose in batch.photo_from_view}
    own = {tuple(p.flatten().tolist()) for p in photos.photo_from_view[2]}
    mirrored = {tuple((mirror @ p @ mirror).flatten().tolist()) for p in photos.photo_from_view[2]}
    assert drawn <= own | mirrored


def test_the_reader_says_whose_photos_it_read(tmp_path: Path) -> None:
    (tmp_path / "renders").mkdir()
    for name in ("shop_ball", "game_ball"):
        save_rigs(ball_rigs(), tmp_path / "renders" / f"{name}.npz")
    reader = PhotoReader(tmp_path, ["game_ball", "shop_ball"], rigs_per_asset=1)
    assert len(join_photos(reader.read_new()).photo) == len(reader.asset_ids)
    assert reader.asset_ids == ["game_ball"] * 4 + ["shop_ball"] * 4


def test_examples_of_another_version_are_made_anew(tmp_path: Path) -> None:
    (tmp_path / "renders").mkdir()
    save_rigs(ball_rigs(), tmp_path / "renders" / "ball.npz")
    fresh = vars(load_photos(tmp_path, "ball"))
    path = tmp_path / "lifting" / "ball.npz"
    np.savez(path, **{n: array for n, array in fresh.items() if n != "front_depth"})
    again = vars(load_photos(tmp_path, "ball"))
    assert all((again[name] == array).all() for name, array in fresh.items())


def test_recolouring_leaves_the_background_white() -> None:
    rgb = np.full((4, 4, 3), 255, np.uint8)
    rgb[1:3, 1:3] = (200, 40, 10)
    mask = np.where(rgb[..., 1] < 255, 255, 0).astype(np.uint8)
    changed = random_colours(np.random.default_rng(1))(rgb, mask)
    assert (changed[mask == 0] == 255).all()
    assert (changed[mask == 255] != rgb[mask == 255]).any()


def test_half_of_the_photos_are_not_quite_sharp() -> None:
    photo = np.full((128, 128, 4), 255, np.uint8)
    photo[..., 3] = 0
    photo[32:96, 32:96] = (200, 40, 10, 255)
    drawn = [random_blur(np.random.default_rng(seed), photo) for seed in range(40)]
    blurred = [image for image in drawn if (image != photo).any()]
    assert 10 < len(blurred) < 30
    for image in blurred:
        assert (image[:24] == photo[:24]).all()
        assert (image[40:88, 40:88] == photo[64, 64]).all()
        assert image[..., 3].mean() == pytest.approx(photo[..., 3].mean(), rel=0.01)


def test_lifter_learns(photos: LiftingPhotos) -> None:
    torch.manual_seed(0)
    network = PhotoLifter(block_out_channels=(16, 16, 16, 32), attention_head_dim=8)
    history = learn(
        LiftingObjective(network),
        lambda slots: draw_batch(photos, slots),
        batch_size=2,
        num_steps=12,
        learning_rate=2e-3,
    )
    assert history[-1]["inside"] < 0.7 * history[0]["inside"]
    assert history[-1]["relief"] < history[0]["relief"]
    assert history[-1]["view"] < history[0]["view"]


def test_elevation_learns() -> None:
    torch.manual_seed(0)
    network = PhotoElevation(width=(8, 8), hidden=16)
    photos = torch.rand(2, 4, SIZE_PX, SIZE_PX)
    photos[1] *= 0.2
    elevation_deg = torch.tensor([0.0, 60.0])
    history = learn(
        ElevationObjective(network.train()),
        lambda slots: (photos, elevation_deg),
        batch_size=2,
        num_steps=40,
        learning_rate=5e-3,
    )
    assert history[-1]["loss"] < 0.8 * history[0]["loss"]
    estimate, probability = network.eval().estimate(photos)
    assert estimate[1] > estimate[0]
    assert ((probability >= 0) & (probability <= 1)).all()


def test_photo_crop_centres_the_object() -> None:
    rgba = np.full((2, SIZE_PX, SIZE_PX, 4), 255, np.uint8)
    rgba[..., 3] = 0
    rgba[:, 20:60, 70:90, 3] = 255
    views = PosedViews(rgba=rgba, elevation_deg=np.full(2, 20.0, np.float32))
    drawn, elevation_deg = draw_photos(views, slots(6))
    assert (elevation_deg == 20.0).all()
    for photo in drawn:
        rows, columns = (photo[3] > 0.5).nonzero().T
        assert abs((rows.min() + rows.max()) / 2 - SIZE_PX / 2) < 6
        assert abs((columns.min() + columns.max()) / 2 - SIZE_PX / 2) < 6
        assert 0.65 * SIZE_PX < rows.max() - rows.min() < 0.85 * SIZE_PX
