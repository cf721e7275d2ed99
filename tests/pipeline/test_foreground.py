# SPDX-License-Identifier: GPL-3.0-or-later
"""Cutting out, cropping and centring the object."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from skimage.transform import resize

from one2345_blender.contracts.errors import ForegroundError
from one2345_blender.pipeline.foreground import (
    keep_relevant_components,
    prepare_foreground,
    segment,
)

GOLDEN = Path(__file__).parents[1] / "golden" / "preprocess.npz"


class ConstantSegmenter:
    """Answers with the alpha it was given."""

    def __init__(self, alpha: np.ndarray) -> None:
        self.alpha = alpha

    def predict_alpha(self, rgb: np.ndarray) -> np.ndarray:
        assert rgb.shape == (*self.alpha.shape, 3)
        return self.alpha


def _box_alpha(
    height_px: int, width_px: int, top: int, left: int, bottom: int, right: int
) -> np.ndarray:
    alpha = np.zeros((height_px, width_px), np.uint8)
    alpha[top:bottom, left:right] = 255
    return alpha


def _grey(alpha: np.ndarray) -> np.ndarray:
    return np.full((*alpha.shape, 3), 90, np.uint8)


@pytest.mark.parametrize("case", ["wide", "tall"])
def test_equals_the_original_to_the_pixel(case: str) -> None:
    golden = np.load(GOLDEN)
    rgba = golden[f"{case}_rgba"]
    foreground = prepare_foreground(rgba, rgba[..., 3], size_px=256)
    np.testing.assert_array_equal(foreground.rgb, golden[f"{case}_rgb256"])


@pytest.mark.parametrize("size_px", [128, 256])
@pytest.mark.parametrize("source_side_px", [200, 1024])
def test_object_is_centred_and_fills_three_quarters(size_px: int, source_side_px: int) -> None:
    unit = source_side_px // 20
    alpha = _box_alpha(source_side_px, source_side_px, unit, 2 * unit, 11 * unit, 6 * unit)
    view = prepare_foreground(_grey(alpha), alpha, size_px=size_px)
    rows, columns = np.nonzero(view.mask)
    assert np.ptp(rows) + 1 == pytest.approx(0.75 * size_px, abs=2)
    assert rows.mean() == pytest.approx(size_px / 2, abs=2)
    assert columns.mean() == pytest.approx(size_px / 2, abs=2)
    assert (view.rgb[~view.mask][:, 0] > 170).all()
    np.testing.assert_array_equal(view.rgb[size_px // 2, size_px // 2], (90, 90, 90))


@pytest.mark.parametrize("source_side_px", [300, 900])
def test_crop_box_leads_back_to_the_source(source_side_px: int) -> None:
    side = source_side_px
    alpha = _box_alpha(side, side * 2, 0, side, side // 2, side + side // 3)
    view = prepare_foreground(_grey(alpha), alpha, size_px=256)
    x0, y0, box_side = view.crop_box_px
    rows, columns = np.nonzero(view.mask)
    scale = box_side / 256
    assert y0 < 0
    assert view.source_size == (side, side * 2)
    tolerance_px = 0.02 * side
    assert x0 + columns.min() * scale == pytest.approx(side, abs=tolerance_px)
    assert x0 + (columns.max() + 1) * scale == pytest.approx(side * 4 / 3, abs=tolerance_px)
    assert y0 + (rows.max() + 1) * scale == pytest.approx(side / 2, abs=tolerance_px)


def test_own_alpha_is_used() -> None:
    alpha = _box_alpha(60, 60, 10, 10, 40, 40)
    rgba = np.dstack([_grey(alpha), alpha])
    nothing = ConstantSegmenter(np.zeros_like(alpha))
    np.testing.assert_array_equal(segment(rgba, nothing), alpha)


def test_segmenter_is_asked_without_alpha() -> None:
    alpha = _box_alpha(60, 80, 10, 10, 40, 40)
    np.testing.assert_array_equal(segment(_grey(alpha), ConstantSegmenter(alpha)), alpha)


def test_pinholes_of_the_segmenter_are_filled_but_handles_stay_open() -> None:
    solid = _box_alpha(100, 100, 10, 10, 90, 90)
    handle = _box_alpha(100, 100, 20, 20, 40, 40)
    pinhole = _box_alpha(100, 100, 60, 60, 66, 66)
    found = solid & ~handle & ~pinhole
    np.testing.assert_array_equal(segment(_grey(found), ConstantSegmenter(found)), solid & ~handle)
    own = np.dstack([_grey(found), found])
    np.testing.assert_array_equal(segment(own, ConstantSegmenter(solid)), found)


def test_detail_is_the_same_view_with_more_pixels() -> None:
    alpha = _box_alpha(200, 200, 40, 60, 140, 160)
    picture = np.random.default_rng(0).integers(0, 256, (200, 200, 3), np.uint8)
    view = prepare_foreground(picture, alpha, size_px=64)
    side = len(view.detail_rgb)
    assert side > 64
    reduced = resize(view.detail_rgb, (64, 64, 3), preserve_range=True, anti_aliasing=True)
    assert np.abs(reduced - view.rgb).mean() < 0.2 * view.rgb[view.mask].std()


def test_specks_go_and_comparable_parts_stay() -> None:
    two_parts = _box_alpha(100, 100, 10, 10, 60, 60) | _box_alpha(100, 100, 70, 20, 90, 60)
    speck = _box_alpha(100, 100, 2, 95, 5, 98)
    faint_veil = np.where(two_parts | speck, 0, 4).astype(np.uint8)
    cleaned = keep_relevant_components(two_parts | speck | faint_veil)
    np.testing.assert_array_equal(cleaned, two_parts)


@pytest.mark.parametrize("object_side_px", [0, 2])
def test_no_object_is_an_error(object_side_px: int) -> None:
    alpha = _box_alpha(100, 100, 5, 5, 5 + object_side_px, 5 + object_side_px)
    with pytest.raises(ForegroundError, match="none was found") as caught:
        prepare_foreground(_grey(alpha), alpha, size_px=128)
    assert "transparent" in caught.value.hint


def test_nothing_but_object_is_an_error() -> None:
    alpha = _box_alpha(100, 100, 0, 0, 100, 100)
    alpha[:10, :10] = 0
    with pytest.raises(ForegroundError, match="background around it"):
        prepare_foreground(_grey(alpha), alpha, size_px=128)


def test_tightly_cropped_object_is_fine() -> None:
    yy, xx = np.mgrid[-1:1:200j, -1:1:200j]
    alpha = np.where(yy**2 + xx**2 < 1, 255, 0).astype(np.uint8)
    view = prepare_foreground(_grey(alpha), alpha, size_px=128)
    assert view.mask.mean() == pytest.approx(np.pi / 4 * 0.75**2, abs=0.01)


def test_wholly_transparent_picture_is_an_error() -> None:
    rgba = np.dstack([_grey(np.zeros((50, 50))), np.zeros((50, 50), np.uint8)])
    with pytest.raises(ForegroundError, match="none was found"):
        prepare_foreground(rgba, segment(rgba, ConstantSegmenter(rgba[..., 3])), size_px=128)
