# SPDX-License-Identifier: GPL-3.0-or-later
"""How alike two pictures or two outlines are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error, structural_similarity

_SMALLEST_MSE = 1e-6
"""Of values in 0..1: equal pictures get 60 dB, not infinity."""


def silhouette_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks; 1 if both are empty."""
    union = (first | second).sum()
    return float((first & second).sum() / union) if union else 1.0


def psnr_db(truth: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Of one picture `(H, W, 3)`, background included."""
    mse = mean_squared_error(truth / 255.0, picture / 255.0)
    return float(-10.0 * np.log10(max(mse, _SMALLEST_MSE)))


def ssim(truth: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Structural similarity of one picture `(H, W, 3)`."""
    return float(structural_similarity(truth, picture, channel_axis=-1))
