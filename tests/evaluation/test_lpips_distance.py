# SPDX-License-Identifier: GPL-3.0-or-later
"""Distances of pictures as the package that carries the weights computes them."""

from __future__ import annotations

import numpy as np
import pytest

from one2345_blender.evaluation.lpips_distance import LpipsDistance


def test_distances_equal_the_packages() -> None:
    """Recorded from stlpips-pytorch 0.0.2, `LPIPS(net="alex", variant="shift_tolerant")`."""
    lpips = LpipsDistance.installed()
    if lpips is None:
        pytest.skip("stlpips-pytorch is not installed")
    rng = np.random.default_rng(0)
    first = rng.integers(0, 256, (2, 64, 64, 3), np.uint8)
    second = np.clip(first.astype(int) + rng.integers(-40, 40, first.shape), 0, 255)
    second = second.astype(np.uint8)
    distances = [lpips(first[i : i + 1], second[i : i + 1]) for i in range(2)]
    assert distances == pytest.approx([0.002211483, 0.002583330], abs=1e-6)
    assert lpips(first, first) == 0.0
