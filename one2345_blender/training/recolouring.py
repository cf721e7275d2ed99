# SPDX-License-Identifier: GPL-3.0-or-later
"""Objects in other colours and exposures, or paler, photos that are not quite sharp: new ones at no
cost, and cameras that see otherwise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter

BLURRED_SHARE = 0.5
FADED_SHARE = 0.5
LEAST_DARKNESS = 0.1
"""Of faded pictures, as a share of what they had."""
MAX_BLUR = 1.0 / 128.0
"""Standard deviation in sides of the picture: one pixel where that has 128."""


def random_colours(
    rng: np.random.Generator,
) -> Callable[[NDArray[np.uint8], NDArray[np.uint8]], NDArray[np.uint8]]:
    """A change of an object's colours; where its mask is 0 a picture stays what it is."""
    order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
    gain, exponent = np.exp(rng.normal(0.0, 0.1, 3)), np.exp(rng.normal(0.0, 0.2))
    level = np.arange(256)[:, None] / 255.0
    table = (255.0 * np.clip(level**exponent * gain, 0.0, 1.0)).astype(np.float32)

    def recolour(rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
        share = mask[..., None] / np.float32(255.0)
        changed = table[rgb[..., order], np.arange(3)]
        return (share * changed + (1.0 - share) * rgb).astype(np.uint8)

    return recolour


def random_fading(rng: np.random.Generator, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pictures on white of one object, of a paler one: all of them fade towards white alike.

    Half of all objects stay as they are.
    """
    darkness = LEAST_DARKNESS ** float(rng.random())
    if rng.random() >= FADED_SHARE:
        return rgb
    table = (255.0 - darkness * np.arange(255.0, -1.0, -1.0)).round().astype(np.uint8)
    return table[rgb]


def random_blur(rng: np.random.Generator, photo: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A photo `(H, W, C)`, sRGB on white and its mask, as a lens a little out of focus shows it.

    Half of all photos stay as sharp as they are.
    """
    sigma_px = MAX_BLUR * photo.shape[0] * float(rng.random())
    if rng.random() >= BLURRED_SHARE:
        return photo
    blurred = gaussian_filter(photo.astype(np.float32), (sigma_px, sigma_px, 0.0), mode="nearest")
    return np.asarray(blurred.round(), np.uint8)
