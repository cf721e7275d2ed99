# SPDX-License-Identifier: GPL-3.0-or-later
"""The lens that sees the whole photo when the method saw only a square crop of it (pure maths)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..contracts.cameras import FOCAL_PER_SIDE

SENSOR_MM = 36.0
"""Side of the sensor along the fitted axis, millimetres; Blender's default width."""


@dataclass(frozen=True, kw_only=True)
class PhotoLens:
    """Blender's camera parameters; `SENSOR_MM` spans the axis that `sensor_fit` names."""

    sensor_fit: str
    """`HORIZONTAL` or `VERTICAL`."""
    focal_mm: float
    shift_x: float
    """In sides of the fitted axis; positive moves the picture's frame to the right."""
    shift_y: float
    """In sides of the fitted axis; positive moves the picture's frame up."""


def photo_lens(
    crop_box_px: Sequence[float],
    source_size_px: Sequence[float],
    *,
    view_size_px: float,
    frame_aspect: float,
) -> PhotoLens:
    """The lens whose picture is the photo, in a render frame that holds the photo centred.

    The method's square view is a crop of the photo. Its principal point is at coordinate
    `view_size_px / 2`, where pixel `i`'s middle lies at coordinate `i`: half a view pixel right of
    and below the crop's centre.

    Args:
        crop_box_px: `left, top, side` in photo pixels (x right, y down); it may reach over the
            photo's edges.
        source_size_px: Width and height of the photo.
        view_size_px: Side of the view into which the crop was resized.
        frame_aspect: Width over height of the render frame. A frame wider than the photo shows
            the photo at its full height, a narrower one at its full width (Blender's `FIT`);
            a frame with the photo's own aspect shows exactly the photo.
    """
    left_px, top_px, side_px = crop_box_px
    width_px, height_px = source_size_px
    is_frame_wider = frame_aspect * height_px > width_px
    fitted_px = height_px if is_frame_wider else width_px
    principal = 0.5 + 0.5 / view_size_px  # in sides of the crop
    principal_x_px = left_px + principal * side_px
    principal_y_px = top_px + principal * side_px
    return PhotoLens(
        sensor_fit="VERTICAL" if is_frame_wider else "HORIZONTAL",
        focal_mm=FOCAL_PER_SIDE * side_px / fitted_px * SENSOR_MM,
        shift_x=(width_px / 2 - principal_x_px) / fitted_px,
        shift_y=(principal_y_px - height_px / 2) / fitted_px,
    )
