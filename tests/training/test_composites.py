# SPDX-License-Identifier: GPL-3.0-or-later
"""Backdrops and composites: sizes, ranges, and masks that tell the truth."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from skimage.measure import label

from one2345_blender.training import backdrops
from one2345_blender.training.backdrops import Picture, Pictures
from one2345_blender.training.composites import (
    add_companion,
    add_plate,
    cast_shadow,
    draw_composite,
    photograph,
    place_cutout,
    recolor,
)

SIZE_PX = 64


@pytest.fixture(scope="module")
def pictures() -> Pictures:
    rng = np.random.default_rng(0)
    noise = [rng.integers(0, 255, (64, 96, 3), np.uint8) for _ in range(3)]
    return Pictures(textures=noise, scenes=noise, woods=[backdrops.draw_wood(rng, 64)])


@pytest.fixture(scope="module")
def disc_cutout() -> np.ndarray:
    y, x = np.mgrid[-1:1:100j, -1:1:60j]
    alpha = np.where(x**2 + y**2 < 1, 255, 0)
    color = np.broadcast_to((200, 30, 30), (100, 60, 3))
    return np.dstack([color, alpha]).astype(np.uint8)


@pytest.mark.parametrize(
    "draw",
    [backdrops.draw_scene, backdrops.draw_material, backdrops.draw_ground, backdrops.draw_beyond],
)
def test_backdrops_fill_the_picture(draw: Callable[..., Picture], pictures: Pictures) -> None:
    for seed in range(8):
        drawn = draw(pictures, SIZE_PX, np.random.default_rng(seed))
        assert drawn.shape == (SIZE_PX, SIZE_PX, 3)
        assert np.isfinite(drawn).all()
        assert drawn.min() >= 0.0 and drawn.max() <= 1.6


def test_same_seed_same_composite(disc_cutout: np.ndarray, pictures: Pictures) -> None:
    first, second = (
        draw_composite([disc_cutout], pictures, SIZE_PX, np.random.default_rng(5)) for _ in "ab"
    )
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_mask_shows_an_object_of_the_wanted_size(
    disc_cutout: np.ndarray, pictures: Pictures
) -> None:
    for seed in range(30):
        rgb, mask = draw_composite([disc_cutout], pictures, SIZE_PX, np.random.default_rng(seed))
        assert rgb.dtype == mask.dtype == np.uint8
        assert rgb.shape == (*mask.shape, 3) == (SIZE_PX, SIZE_PX, 3)
        assert 0.02 < (mask > 127).mean() < 0.95


def test_placed_object_is_whole(disc_cutout: np.ndarray) -> None:
    for seed in range(30):
        layer = place_cutout(disc_cutout, SIZE_PX, (0.5, 0.5), np.random.default_rng(seed))
        height = np.ptp(np.flatnonzero(layer[..., 3].max(1) > 0.5)) + 1
        assert 0.3 * SIZE_PX < height <= 0.75 * SIZE_PX


def test_recolouring_stays_in_range(disc_cutout: np.ndarray) -> None:
    rgb = disc_cutout[..., :3].astype(np.float32) / 255.0
    for seed in range(20):
        painted = recolor(rgb, np.random.default_rng(seed))
        assert painted.min() >= 0.0 and painted.max() <= 1.0


def test_plate_only_adds_to_the_mask(disc_cutout: np.ndarray) -> None:
    layer = place_cutout(disc_cutout, SIZE_PX, (0.5, 0.5), np.random.default_rng(1))
    plated = add_plate(layer, np.random.default_rng(2))
    assert (plated[..., 3] >= layer[..., 3] - 1e-6).all()
    assert plated[..., 3].sum() > layer[..., 3].sum()
    covered = layer[..., 3] == 1.0
    np.testing.assert_allclose(plated[covered], layer[covered], atol=1e-5)


def test_companion_overlaps_the_object(disc_cutout: np.ndarray) -> None:
    for seed in range(20):
        rng = np.random.default_rng(seed)
        layer = place_cutout(disc_cutout, SIZE_PX, (0.4, 0.4), rng)
        joined = add_companion(layer, disc_cutout, rng)
        assert (joined[..., 3] >= layer[..., 3] - 1e-6).all()
        assert label(joined[..., 3] > 0.5).max() == 1


def test_shadow_only_darkens(disc_cutout: np.ndarray) -> None:
    alpha = place_cutout(disc_cutout, SIZE_PX, (0.5, 0.5), np.random.default_rng(1))[..., 3]
    canvas = np.full((SIZE_PX, SIZE_PX, 3), 0.8, np.float32)
    for seed in range(10):
        shaded = cast_shadow(canvas, alpha, np.random.default_rng(seed))
        assert (shaded <= canvas + 1e-6).all()
        assert shaded.min() > 0.0


def test_photograph_keeps_the_picture_recognisable() -> None:
    ramp = np.broadcast_to(np.linspace(0, 1, SIZE_PX)[:, None], (SIZE_PX, SIZE_PX))
    picture = np.repeat(ramp[..., None], 3, axis=2).astype(np.float32)
    for seed in range(10):
        photo = photograph(picture, np.random.default_rng(seed)).mean(axis=(1, 2))
        assert np.corrcoef(photo, ramp[:, 0])[0, 1] > 0.95
