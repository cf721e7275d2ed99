# SPDX-License-Identifier: GPL-3.0-or-later
"""Sharpens a coarse object mask with the picture's own colours and edges.

Two steps, on a reduced picture: the colours of what the network takes for object and for background
re-weigh its probabilities (the colour models of GrabCut, Rother et al. 2004), then a guided filter
(He et al. 2013) moves the mask's edges to those of the picture.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter, uniform_filter

REFINED_AREA_PX = 208**2
COLOR_BINS = 32
"""Per channel."""
COLOR_TRUST = 1.5
"""Exponent of the ratio of the colour likelihoods."""
FILTER_RADIUS_PX = 8
FILTER_SMOOTHING = 1e-3
"""Guided filter's epsilon, for colours of 0..1."""
EDGE_STEEPNESS = 3.0
"""Alpha's slope over the probability: objects are solid, a doubtful part is not translucent."""

_PRIOR_RANGE = (0.02, 0.98)
_RARE_COLOR = 1e-6


def refine_alpha(rgb: NDArray[np.uint8], probability: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Alpha `(H, W)` 0..255 for `rgb (H, W, 3)` from a coarse `probability (h, w)` 0..1."""
    height_px, width_px = rgb.shape[:2]
    scale = min(1.0, (REFINED_AREA_PX / (height_px * width_px)) ** 0.5)
    size = (max(2, round(width_px * scale)), max(2, round(height_px * scale)))
    reduced = np.asarray(Image.fromarray(rgb).resize(size, Image.Resampling.LANCZOS))
    refined = _reweigh_by_color(reduced, _resized(probability, size))
    refined = _guided_filter(reduced / 255.0, refined)
    alpha = 0.5 + EDGE_STEEPNESS * (_resized(refined, (width_px, height_px)) - 0.5)
    return np.round(np.clip(alpha, 0.0, 1.0) * 255.0).astype(np.uint8)


def _resized(plane: NDArray[np.floating], size: tuple[int, int]) -> NDArray[np.float32]:
    """`plane` resampled to `size` `(width, height)`, kept in 0..1."""
    image = Image.fromarray(plane.astype(np.float32)).resize(size, Image.Resampling.BICUBIC)
    return np.clip(np.asarray(image), 0.0, 1.0)


def _reweigh_by_color(
    rgb: NDArray[np.uint8], probability: NDArray[np.float32]
) -> NDArray[np.float32]:
    """Bayes' rule: the network's probability as prior, colour histograms as likelihoods."""
    bins = rgb.astype(np.int64) * COLOR_BINS // 256
    color = (bins[..., 0] * COLOR_BINS + bins[..., 1]) * COLOR_BINS + bins[..., 2]
    prior = np.clip(probability, *_PRIOR_RANGE)
    likelihood_ratio = (
        _color_density(color, probability) / _color_density(color, 1.0 - probability)
    )[color] ** COLOR_TRUST
    odds = prior / (1.0 - prior) * likelihood_ratio
    return (odds / (1.0 + odds)).astype(np.float32)


def _color_density(color: NDArray[np.int64], weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Smoothed, normalised histogram over all `COLOR_BINS**3` colours."""
    counts = np.bincount(color.ravel(), weight.ravel(), COLOR_BINS**3)
    smooth = gaussian_filter(counts.reshape((COLOR_BINS,) * 3), 1.0).ravel()
    smooth += _RARE_COLOR * max(float(weight.sum()), 1.0)
    return smooth / smooth.sum()


def _guided_filter(guide: NDArray[np.floating], plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """`plane (H, W)` as a locally linear function of the colours `guide (H, W, 3)`."""
    guide_mean, plane_mean = _box_mean(guide), _box_mean(plane)
    products = guide[..., :, None] * guide[..., None, :]
    variance = _box_mean(products) - guide_mean[..., :, None] * guide_mean[..., None, :]
    covariance = _box_mean(guide * plane[..., None]) - guide_mean * plane_mean[..., None]
    variance += FILTER_SMOOTHING * np.eye(3)
    slope = np.linalg.solve(variance, covariance[..., None])[..., 0]
    offset = plane_mean - (slope * guide_mean).sum(axis=-1)
    filtered = (_box_mean(slope) * guide).sum(axis=-1) + _box_mean(offset)
    return filtered.astype(np.float32)


def _box_mean(values: NDArray[np.floating]) -> NDArray[np.floating]:
    """Mean over the square of `FILTER_RADIUS_PX` around each pixel of the first two axes."""
    return uniform_filter(values, 2 * FILTER_RADIUS_PX + 1, mode="nearest", axes=(0, 1))
