# SPDX-License-Identifier: GPL-3.0-or-later
"""From a picture to the object alone: mask, crop, recentre, on white.

Follows the original's preprocessing (One-2-3-45, utils/utils.py:50-77) to the pixel.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from skimage.measure import label
from skimage.morphology import remove_small_holes

from ..contracts.errors import ForegroundError

OBJECT_FRACTION = 0.75
"""Longer side of the object's box over the side of the square crop."""
WORKING_SIDE_PX = 512
"""Pictures are shrunk to this longer side before cropping, never enlarged."""
DETAIL_FACTOR = 2
"""Of `detail_rgb`'s side to the view's."""

MIN_OBJECT_FRACTION = 0.002
MAX_OBJECT_FRACTION = 0.95
MAX_BORDER_FRACTION = 0.9
MIN_COMPONENT_FRACTION = 0.02
MAX_HOLE_FRACTION = 0.01
"""Of the object's area: the segmenter's smaller holes are doubts, larger ones may be handles."""
FAINT_ALPHA = 12
"""Alpha up to here is the veil of a soft cut-out or of resampling, not object."""

_REMEDY = (
    "Use a picture that shows the whole object with some space around it before a plain "
    "background, or a PNG whose background is transparent."
)


class AlphaPredictor(Protocol):
    """What `segment` needs of a segmenter."""

    def predict_alpha(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Coverage `(H, W)`, 0..255, of the foremost object in `rgb (H, W, 3)`."""
        ...


@dataclass(frozen=True, kw_only=True)
class ForegroundImage:
    """The object alone, in the square view that the method works on."""

    rgb: NDArray[np.uint8]
    """`(S, S, 3)` sRGB on white."""
    mask: NDArray[np.bool_]
    """`(S, S)`, true on the object."""
    detail_rgb: NDArray[np.uint8]
    """The same view with more pixels, for colours that go straight to the mesh."""
    crop_box_px: tuple[float, float, float]
    """`(x0, y0, side)` of the view in pixels of the source; may lie partly outside it."""
    source_size: tuple[int, int]
    """`(height, width)` of the source in pixels."""


def segment(image: NDArray[np.uint8], segmenter: AlphaPredictor) -> NDArray[np.uint8]:
    """Find the object: the picture's own alpha if it has one, else the segmenter's.

    Args:
        image: `(H, W, 4)` or `(H, W, 3)` sRGB, as `read_source_image` returns it.
        segmenter: Asked only for pictures without alpha.

    Returns:
        `(H, W)` alpha without specks: the main object and the parts of comparable size. What the
        segmenter found has no pinholes either.
    """
    if image.shape[-1] == 4:
        return keep_relevant_components(image[..., 3])
    return without_small_holes(keep_relevant_components(segmenter.predict_alpha(image)))


def keep_relevant_components(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Clear all connected parts smaller than `MIN_COMPONENT_FRACTION` of the largest one."""
    components = label(alpha > FAINT_ALPHA, connectivity=2)
    areas_px = np.bincount(components.ravel())
    areas_px[0] = 0  # what is not object
    is_kept = areas_px >= max(1, MIN_COMPONENT_FRACTION * areas_px.max())
    return np.where(is_kept[components], alpha, 0).astype(np.uint8)


def without_small_holes(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Make holes opaque that are smaller than `MAX_HOLE_FRACTION` of the object."""
    is_object = alpha > 127
    filled = remove_small_holes(is_object, max_size=int(MAX_HOLE_FRACTION * is_object.sum()))
    return np.where(filled & ~is_object, 255, alpha).astype(np.uint8)


def prepare_foreground(
    image: NDArray[np.uint8], alpha: NDArray[np.uint8], *, size_px: int
) -> ForegroundImage:
    """Crop to the object, centre it in a square, resize and put it on white.

    The resampling goes straight from the crop to `size_px`, whatever that is, so that 256 gives
    the original's pixels and smaller views are filtered only once.

    Args:
        image: `(H, W, 3 or 4)` sRGB; a fourth channel is ignored.
        alpha: `(H, W)` 0..255.
        size_px: Side of the view.

    Raises:
        ForegroundError: If the alpha shows no object, or nothing but object.
    """
    height_px, width_px = alpha.shape
    rgba = Image.fromarray(np.dstack([image[..., :3], alpha]))
    rgba.thumbnail((WORKING_SIDE_PX, WORKING_SIDE_PX), Image.Resampling.LANCZOS)
    shrunk_from_source = max(rgba.size) / max(height_px, width_px)

    left, top, right, bottom = _object_box(rgba.getchannel("A"))
    box_width, box_height = right - left, bottom - top
    side = int(max(box_width, box_height) / OBJECT_FRACTION)
    pad_x, pad_y = side // 2 - box_width // 2, side // 2 - box_height // 2
    canvas = Image.new("RGBA", (side, side))
    canvas.paste(rgba.crop((left, top, right, bottom)), (pad_x, pad_y))
    rgb, mask = _on_white(canvas, size_px)
    detail_rgb, _ = _on_white(canvas, DETAIL_FACTOR * size_px)
    return ForegroundImage(
        rgb=rgb,
        mask=mask,
        detail_rgb=detail_rgb,
        crop_box_px=(
            (left - pad_x) / shrunk_from_source,
            (top - pad_y) / shrunk_from_source,
            side / shrunk_from_source,
        ),
        source_size=(height_px, width_px),
    )


def _on_white(canvas: Image.Image, size_px: int) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Colours on white and the mask of an RGBA picture at another size."""
    view = np.asarray(canvas.resize((size_px, size_px), Image.Resampling.LANCZOS)) / 255.0
    alpha = view[..., 3:]
    on_white = view[..., :3] * alpha + (1.0 - alpha)
    return (on_white * 255.0).astype(np.uint8), alpha[..., 0] >= 0.5


def _object_box(alpha: Image.Image) -> tuple[int, int, int, int]:
    """Left, top, right and bottom of the object, after checking that there is one."""
    mask = np.asarray(alpha) > 127
    object_fraction = float(mask.mean())
    border = np.concatenate([mask[0], mask[-1], mask[1:-1, 0], mask[1:-1, -1]])
    box = alpha.point(lambda value: 255 * (value > FAINT_ALPHA)).getbbox()
    if box is None or object_fraction < MIN_OBJECT_FRACTION:
        raise ForegroundError(
            "Expected an object in the picture, but none was found: the mask covers "
            f"{100 * object_fraction:.2g} % of it.",
            hint=_REMEDY,
        )
    if object_fraction > MAX_OBJECT_FRACTION and border.mean() > MAX_BORDER_FRACTION:
        raise ForegroundError(
            "Expected an object with background around it, but the object's mask covers "
            f"{100 * object_fraction:.3g} % of the picture.",
            hint=_REMEDY,
        )
    return box
