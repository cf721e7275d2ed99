# SPDX-License-Identifier: GPL-3.0-or-later
"""Sharpens a coarse object mask with the picture's own colours and edges.

Two steps, on a reduced picture: the colours of what is surely object and surely background
re-weigh the rest (as GrabCut's colour models do, Rother et al. 2004), then a random walk (Grady
2006) carries the sure pixels' labels up to the edges between them.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import gaussian_filter
from skimage.segmentation import random_walker

REFINED_AREA_PX = 208**2
COLOR_BINS = 20
"""Per channel."""
SURE = 0.95
"""From this probability on a pixel is a seed of the random walk."""
EDGE_STRENGTH = 1000.0
"""Random walk's `beta`: how much a difference in colour keeps it from crossing."""
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
    refined = _follow_edges(reduced, refined)
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
    of_object = prior * _color_density(color, probability)[color]
    of_rest = (1.0 - prior) * _color_density(color, 1.0 - probability)[color]
    return (of_object / (of_object + of_rest)).astype(np.float32)


def _color_density(color: NDArray[np.int64], weight: NDArray[np.float32]) -> NDArray[np.float64]:
    """Smoothed, normalised histogram over all `COLOR_BINS**3` colours."""
    counts = np.bincount(color.ravel(), weight.ravel(), COLOR_BINS**3)
    smooth = gaussian_filter(counts.reshape((COLOR_BINS,) * 3), 1.0).ravel()
    smooth += _RARE_COLOR * max(float(weight.sum()), 1.0)
    return smooth / smooth.sum()


def _follow_edges(rgb: NDArray[np.uint8], probability: NDArray[np.float32]) -> NDArray[np.float32]:
    """Probability of a random walker reaching sure object before sure background."""
    labels = np.zeros(probability.shape, np.int32)
    labels[probability > SURE] = 1
    labels[probability < 1.0 - SURE] = 2
    if set(np.unique(labels)) != {0, 1, 2} or rgb.std() == 0.0:
        return probability
    reached = random_walker(
        rgb / 255.0,
        labels,
        beta=EDGE_STRENGTH,
        mode="cg_j",
        channel_axis=-1,
        return_full_prob=True,
        prob_tol=0.1,  # the solver's small overshoots are clipped when the result is resized
    )
    return reached[0].astype(np.float32)
