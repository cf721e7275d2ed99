# SPDX-License-Identifier: GPL-3.0-or-later
"""Coarse masks are drawn to the edges that the picture shows."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from one2345_blender.pipeline.mask_refinement import refine_alpha


def _iou(found: np.ndarray, true: np.ndarray) -> float:
    return (found & true).sum() / (found | true).sum()


def _disc_picture(size_px: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    y, x = np.mgrid[-1 : 1 : size_px * 1j, -1 : 1 : size_px * 1j]
    disc = np.hypot(y, x) < 0.5
    rgb = np.where(disc[..., None], (180, 60, 50), (110, 120, 130)) + rng.normal(0, 6, 3)
    return np.clip(rgb + rng.normal(0, 6, (size_px, size_px, 3)), 0, 255).astype(np.uint8), disc


@pytest.mark.parametrize("size_px", [120, 500])
def test_blurred_and_shifted_mask_snaps_to_the_object(size_px: int) -> None:
    rgb, disc = _disc_picture(size_px, np.random.default_rng(0))
    coarse = disc[:: size_px // 40, :: size_px // 40].astype(np.float32)
    coarse = gaussian_filter(shift(coarse, (2, -2), order=1), 2.0)
    refined = refine_alpha(rgb, coarse) > 127
    assert _iou(refined, disc) > 0.97
    assert refine_alpha(rgb, coarse).shape == disc.shape


@pytest.mark.parametrize("value", [0.0, 0.5, 1.0])
def test_undecided_network_is_no_error(value: float) -> None:
    rgb, _ = _disc_picture(80, np.random.default_rng(0))
    alpha = refine_alpha(rgb, np.full((20, 20), value, np.float32))
    assert alpha.shape == (80, 80)
    if value != 0.5:
        assert (alpha > 127).mean() == value


def test_one_colour_keeps_the_mask() -> None:
    _, disc = _disc_picture(160, np.random.default_rng(0))
    alpha = refine_alpha(np.full((160, 160, 3), 128, np.uint8), disc[::4, ::4].astype(np.float32))
    assert _iou(alpha > 127, disc) > 0.9
