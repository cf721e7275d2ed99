# SPDX-License-Identifier: GPL-3.0-or-later
"""Where an object stands so that its input view looks like a prepared photograph."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..contracts.cameras import (
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    px_from_world,
)

MAX_OBJECT_RADIUS = 0.62
"""World units; keeps every object inside the cameras' near and far planes."""

VIEW_SIZE_PX = 128
"""Side of the embedded preset's training views; views of any size show what these do."""

_NUM_STEPS = 12


def world_from_model(
    points: NDArray[np.floating], *, yaw_deg: float, elevation_deg: float, object_fraction: float
) -> NDArray[np.float64]:
    """The similarity `(4, 4)` that turns, scales and shifts a model for one rig.

    The input view's box around the model is centred in the frame and its longer side covers
    `object_fraction` of it, unless that would carry a point further than `MAX_OBJECT_RADIUS` from
    the origin. Along the input's view axis the model's bounding box is centred at the origin.

    Args:
        points: `(N, 3)`, model frame.
        yaw_deg: Turn about +Z, counter-clockwise seen from above.
        elevation_deg: Of the input camera, which stands at azimuth 0.
        object_fraction: 0..1, of the frame's side.
    """
    cos, sin = np.cos(np.radians(yaw_deg)), np.sin(np.radians(yaw_deg))
    turn = np.array([[cos, -sin, 0.0], [sin, cos, 0.0], [0.0, 0.0, 1.0]])
    turned = points @ turn.T
    middle = (turned.min(0) + turned.max(0)) / 2.0
    centred = turned - middle

    view = Viewpoint(name="input", azimuth_deg=0.0, elevation_deg=elevation_deg)
    c2w = c2w_from_viewpoints([view])[0].astype(np.float64)
    K = method_intrinsics(VIEW_SIZE_PX)
    focal_px, frame_middle_px = float(K[0, 0]), (VIEW_SIZE_PX - 1) / 2.0

    scale = MAX_OBJECT_RADIUS / np.linalg.norm(centred, axis=1).max()
    shift = np.zeros(3)
    for _ in range(_NUM_STEPS):
        world = centred * scale + shift
        px, _depth = px_from_world(world, c2w, K)
        low, high = px.min(0), px.max(0)
        offset = (frame_middle_px - (low + high) / 2.0) / focal_px * view.radius
        shift += c2w[:3, :2] @ offset
        scale *= min(
            object_fraction * VIEW_SIZE_PX / (high - low).max(),
            MAX_OBJECT_RADIUS / np.linalg.norm(world, axis=1).max(),
        )

    similarity = np.eye(4)
    similarity[:3, :3] = scale * turn
    similarity[:3, 3] = shift - scale * middle
    return similarity
