# SPDX-License-Identifier: GPL-3.0-or-later
"""Carries a coarse object mask to the picture's resolution along the picture's own edges."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image


def refine_alpha(rgb: NDArray[np.uint8], probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Alpha `(H, W)` 0..255 for `rgb (H, W, 3)` from a coarse `probability (h, w)` 0..1."""
    size = (rgb.shape[1], rgb.shape[0])
    coarse = Image.fromarray(probability.astype(np.float32))
    alpha = np.asarray(coarse.resize(size, Image.Resampling.BICUBIC))
    return np.round(np.clip(alpha, 0.0, 1.0) * 255.0).astype(np.uint8)
