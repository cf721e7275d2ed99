# SPDX-License-Identifier: GPL-3.0-or-later
"""How alike two pictures or two outlines are."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from skimage.metrics import structural_similarity

_SMALLEST_MSE = 1e-6
"""Of values in 0..1: equal pictures get 60 dB, not infinity."""


def silhouette_iou(first: NDArray[np.bool_], second: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Intersection over union `(...)` of masks `(..., H, W)`; 1 where both are empty."""
    union = (first | second).sum(axis=(-2, -1))
    common = (first & second).sum(axis=(-2, -1))
    iou: NDArray[np.float64] = np.where(union > 0, common / np.maximum(union, 1), 1.0)
    return iou


def psnr_db(truth: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> NDArray[np.float64]:
    """`(...)` of pictures `(..., H, W, 3)`, background included."""
    error = (pictures.astype(np.float32) - truth) / 255.0
    mse = np.square(error).mean(axis=(-3, -2, -1), dtype=np.float64)
    psnr: NDArray[np.float64] = -10.0 * np.log10(np.maximum(mse, _SMALLEST_MSE))
    return psnr


def ssim(truth: NDArray[np.uint8], picture: NDArray[np.uint8]) -> float:
    """Structural similarity of one picture `(H, W, 3)`."""
    return float(structural_similarity(truth, picture, channel_axis=-1))
