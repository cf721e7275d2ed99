# SPDX-License-Identifier: GPL-3.0-or-later
"""Matches between the near views, without a learnt matcher: dense optical flow, checked both ways.

One-2-3-45 uses LoFTR. Its weights cannot ship with the package, and the near views are only 14 to
20 degrees apart, rendered alike and on white: classical TV-L1 flow covers that and finds matches
on untextured objects too, where key points fail.
"""

from __future__ import annotations

from itertools import combinations

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import binary_erosion, map_coordinates
from skimage.color import rgb2gray
from skimage.registration import optical_flow_tvl1

from ..contracts.progress import OnEvent, StepDone
from .elevation import Matches

WHITE_FROM = 246
"""A pixel with all channels at least this bright is background (One-2-3-45, elev_est_api.py:43)."""

GRID_STEP_PX = 2
MAX_ROUND_TRIP_PX = 0.75

FloatArray = NDArray[np.float32]


def match_views(rgb: NDArray[np.uint8], on_event: OnEvent) -> dict[tuple[int, int], Matches]:
    """Matches for each pair `i < j` of the views.

    Args:
        rgb: `(V, S, S, 3)` uint8 sRGB on white.
        on_event: Hears of each pair; may raise `Cancelled`.

    Returns:
        Points on a grid over the object in view `i` whose flow to `j` and back returns to within
        `MAX_ROUND_TRIP_PX`, and the grid over the object in view `j` likewise. The confidence
        falls with the round-trip error.
    """
    gray = rgb2gray(rgb).astype(np.float32)
    inside = [binary_erosion((view < WHITE_FROM).any(axis=-1)) for view in rgb]
    pairs = list(combinations(range(len(rgb)), 2))
    matches = {}
    for step, (i, j) in enumerate(pairs, 1):
        flow_ij, flow_ji = _flow(gray[i], gray[j]), _flow(gray[j], gray[i])
        forth = _consistent_points(flow_ij, flow_ji, inside[i], inside[j])
        back = _consistent_points(flow_ji, flow_ij, inside[j], inside[i]).swapped()
        matches[i, j] = Matches(
            px_i=np.concatenate([forth.px_i, back.px_i]),
            px_j=np.concatenate([forth.px_j, back.px_j]),
            confidence=np.concatenate([forth.confidence, back.confidence]),
        )
        on_event(StepDone("elevation", step, len(pairs)))
    return matches


def _flow(source: FloatArray, target: FloatArray) -> FloatArray:
    """`(2, H, W)`: rows and columns by which `source` pixels move to reach `target`."""
    return optical_flow_tvl1(source, target, attachment=300, num_warp=8, dtype=np.float32)


def _consistent_points(
    there: FloatArray, back: FloatArray, inside_i: NDArray[np.bool_], inside_j: NDArray[np.bool_]
) -> Matches:
    on_grid = np.zeros_like(inside_i)
    on_grid[::GRID_STEP_PX, ::GRID_STEP_PX] = True
    start = np.argwhere(inside_i & on_grid).T
    end = start + there[:, start[0], start[1]]
    returned = end + np.stack(
        [map_coordinates(component, end, order=1, mode="nearest") for component in back]
    )
    error_px = np.hypot(*(returned - start))
    lands_inside = map_coordinates(inside_j.astype(np.float32), end, order=1) > 0.5
    keep = lands_inside & (error_px < MAX_ROUND_TRIP_PX)
    return Matches(
        px_i=start[::-1, keep].T.astype(np.float64),
        px_j=end[::-1, keep].T.astype(np.float64),
        confidence=1.0 - error_px[keep] / MAX_ROUND_TRIP_PX + 1e-3,
    )
