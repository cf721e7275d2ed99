# SPDX-License-Identifier: GPL-3.0-or-later
"""The segmentation network, its sizes and its files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from one2345_blender.pipeline.segmenter import ForegroundSegmenter

EMBEDDED = Path(__file__).parents[2] / "one2345_blender/pipeline/presets/embedded/segmenter"


@pytest.fixture
def tiny_segmenter() -> ForegroundSegmenter:
    torch.manual_seed(0)
    return ForegroundSegmenter(block_out_channels=(4, 6, 8), sample_size=32).eval()


def _disc(height_px: int, width_px: int) -> np.ndarray:
    y, x = np.mgrid[0:height_px, 0:width_px]
    radius = 0.3 * min(height_px, width_px)
    return np.hypot(y - 0.5 * height_px, x - 0.5 * width_px) < radius


@pytest.mark.parametrize("size", [(32, 32), (32, 48), (8, 64)])
def test_one_logit_per_pixel(tiny_segmenter: ForegroundSegmenter, size: tuple[int, int]) -> None:
    assert tiny_segmenter(torch.zeros(2, 3, *size)).shape == (2, 1, *size)


@pytest.mark.parametrize("size", [(31, 57), (120, 20), (16, 400)])
def test_alpha_has_the_size_of_the_picture(
    tiny_segmenter: ForegroundSegmenter, size: tuple[int, int]
) -> None:
    alpha = tiny_segmenter.predict_alpha(np.full((*size, 3), 80, np.uint8))
    assert alpha.shape == size
    assert alpha.dtype == np.uint8


def test_mirrored_picture_has_mirrored_alpha(tiny_segmenter: ForegroundSegmenter) -> None:
    rgb = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
    alpha = tiny_segmenter.predict_alpha(rgb).astype(int)
    mirrored = tiny_segmenter.predict_alpha(np.ascontiguousarray(rgb[:, ::-1])).astype(int)
    np.testing.assert_allclose(alpha, mirrored[:, ::-1], atol=2)


def test_saved_and_loaded(tiny_segmenter: ForegroundSegmenter, tmp_path: Path) -> None:
    tiny_segmenter.save_pretrained(tmp_path)
    loaded = ForegroundSegmenter.from_pretrained(tmp_path)
    rgb = np.random.default_rng(0).integers(0, 255, (40, 64, 3), np.uint8)
    np.testing.assert_array_equal(loaded.predict_alpha(rgb), tiny_segmenter.predict_alpha(rgb))


@pytest.mark.preset
@pytest.mark.parametrize("size", [(300, 300), (240, 400)])
def test_embedded_weights_find_a_plain_object(size: tuple[int, int]) -> None:
    segmenter = ForegroundSegmenter.from_pretrained(EMBEDDED)
    disc = _disc(*size)
    rgb = np.where(disc[..., None], (190, 60, 40), (150, 150, 155)).astype(np.uint8)
    found = segmenter.predict_alpha(rgb) > 127
    assert (found & disc).sum() / (found | disc).sum() > 0.9
