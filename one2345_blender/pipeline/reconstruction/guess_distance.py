# SPDX-License-Identifier: GPL-3.0-or-later
"""How far away the surface of a first guess is, at the nodes of the volume's cube."""

import numpy as np
import torch
from scipy.ndimage import distance_transform_edt, gaussian_filter
from torch import Tensor

from ..lifting.radiance import SURFACE_LOGIT, RadianceGrid
from .frame import VolumeFrame

NUM_NODES = 96
"""Along each axis."""
TRUNCATION = 0.12
"""World units, about six voxels of a 64^3 volume: farther away, only the side matters. What the
network learns is truncated there, too."""
SMOOTHING_NODES = 0.7
"""Standard deviation: nodes are inside or outside as a whole, which leaves terraces."""


@torch.no_grad()
def guess_distance(guess: RadianceGrid, frame: VolumeFrame) -> Tensor:
    """Truncated signed distance `(N, N, N)` in volume units, negative inside.

    Args:
        guess: In the world.
        frame: Of the volume.
    """
    device = guess.density.device
    axis = torch.linspace(-1, 1, NUM_NODES, device=device)
    nodes = frame.to_world(torch.cartesian_prod(axis, axis, axis))
    inside = (guess.inside_logit_at(nodes) > SURFACE_LOGIT).reshape((NUM_NODES,) * 3).cpu().numpy()
    spacing = 2 / (NUM_NODES - 1)
    limit = TRUNCATION / frame.radius
    if not inside.any():
        return torch.full((NUM_NODES,) * 3, limit, device=device)
    half = np.where(inside, 0.5, -0.5)
    distance = distance_transform_edt(~inside) - distance_transform_edt(inside) + half
    truncated = np.clip(spacing * distance, -limit, limit).astype(np.float32)
    return torch.from_numpy(gaussian_filter(truncated, SMOOTHING_NODES)).to(device)
