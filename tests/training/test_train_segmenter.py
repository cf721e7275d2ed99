# SPDX-License-Identifier: GPL-3.0-or-later
"""The segmenter's training on a tiny real network."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from training_steps import learn, slots

from one2345_blender.pipeline.segmenter import ForegroundSegmenter
from one2345_blender.training.backdrops import Pictures, draw_wood
from one2345_blender.training.train_segmenter import (
    BATCH_SIZE,
    NUM_FRESH,
    CompositePool,
    SegmenterObjective,
    segmentation_loss,
    validate,
)

SIZE_PX = 32


@pytest.fixture
def pool() -> CompositePool:
    rng = np.random.default_rng(0)
    noise = [rng.integers(100, 160, (64, 64, 3), np.uint8)]
    box = np.full((50, 60, 4), 255, np.uint8)
    box[..., 1:3] = 20
    pictures = Pictures(textures=noise, scenes=noise, woods=[draw_wood(rng, 64)])
    return CompositePool([box], pictures, SIZE_PX)


def test_training_lowers_the_loss_and_finds_objects(pool: CompositePool, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model = ForegroundSegmenter(block_out_channels=(8, 16, 16), sample_size=SIZE_PX)
    history = learn(
        SegmenterObjective(model),
        pool.draw,
        batch_size=BATCH_SIZE,
        num_steps=40,
        learning_rate=5e-3,
    )
    losses = [step["loss"] for step in history]
    assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])

    rgb, mask = pool.draw(slots(2 * BATCH_SIZE, step=40))
    assert validate(model, rgb.numpy(), mask.numpy(), tmp_path) > 0.4
    assert (tmp_path / "sheet.png").exists()


def test_the_pool_grows_by_whole_batches_then_gives_old_ones_again(pool: CompositePool) -> None:
    drawn: set[bytes] = set()
    for step in range(10):
        size_before = len(pool.composites)
        rgb, mask = pool.draw(slots(BATCH_SIZE, step))
        assert rgb.shape == (BATCH_SIZE, SIZE_PX, SIZE_PX, 3)
        assert mask.shape == (BATCH_SIZE, SIZE_PX, SIZE_PX)
        fresh = BATCH_SIZE if step < 8 else NUM_FRESH
        assert len(pool.composites) == size_before + fresh
        drawn |= {
            min(picture.numpy().tobytes(), picture.flip(1).numpy().tobytes()) for picture in rgb
        }
    assert len(drawn) < 8 * BATCH_SIZE  # of ten batches
    known = {min(rgb.tobytes(), rgb[:, ::-1].tobytes()) for rgb, _ in pool.composites}
    assert drawn <= known


def test_loss_is_least_at_the_truth() -> None:
    target = torch.zeros(1, 8, 8)
    target[:, 2:6, 2:6] = 1.0
    right = segmentation_loss(20.0 * (target - 0.5), target)
    nothing = segmentation_loss(torch.full_like(target, -10.0), target)
    everything = segmentation_loss(torch.full_like(target, 10.0), target)
    assert right < 1e-2 < nothing
    assert right < everything
