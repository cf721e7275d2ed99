# SPDX-License-Identifier: GPL-3.0-or-later
"""How far places are from the surface of a guessed object."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from torch import Tensor
from torch.nn import functional as F

from .radiance import VOLUME_HALF_SIDE, RadianceGrid, inside_logit

SURFACE_LOGIT = -0.5
"""Of being inside a guess: its surface is there. At even odds what is doubtful is too thin."""
TRUNCATION = 0.12
"""World units: no distance is larger, here as where the reconstruction network learns it."""
REFINEMENT = 3
"""Nodes for each of the guess, along each axis."""


class GuessedDistance:
    """The truncated signed distance to a guess's surface, world units, negative inside."""

    def __init__(self, guess: RadianceGrid) -> None:
        logit = inside_logit(guess.density)[None, None]
        num_nodes = (logit.shape[-1] - 1) * REFINEMENT + 1
        size = (num_nodes, num_nodes, num_nodes)
        fine = F.interpolate(logit, size=size, mode="trilinear", align_corners=True)[0, 0]
        is_inside = (fine > SURFACE_LOGIT).cpu().numpy()
        nodes = np.where(is_inside, -_to_nearest(~is_inside), _to_nearest(is_inside))
        spacing = 2.0 * VOLUME_HALF_SIDE / (num_nodes - 1)
        distance = torch.from_numpy((spacing * nodes).clip(-TRUNCATION, TRUNCATION))
        self._distance = distance.to(guess.density)

    def at(self, points: Tensor) -> Tensor:
        """`(P,)` at world points `(P, 3)`; beyond the guess's cube that of its border."""
        grid = (points / VOLUME_HALF_SIDE).flip(-1)[None, None, None]
        return F.grid_sample(
            self._distance[None, None], grid, padding_mode="border", align_corners=True
        )[0, 0, 0, 0]


def _to_nearest(nodes: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Distance from each node to the surface of these ones, half way to the nearest; in nodes."""
    if not nodes.any():
        return np.full(nodes.shape, np.inf)
    return np.asarray(distance_transform_edt(~nodes) - 0.5)
