# SPDX-License-Identifier: GPL-3.0-or-later
"""Every ray inside the photo's outline meets the object: where it would not, a layer is put.

Predicted views disagree most about what is thin: legs, handles, rims. The photo shows where these
are, though not how far away. They are put where the signed distance comes closest to a surface,
joined smoothly to what lies beside them, and as thick as they are wide.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import distance_transform_edt
from scipy.sparse import coo_array, diags_array
from scipy.sparse.csgraph import laplacian
from scipy.sparse.linalg import spsolve
from torch import Tensor
from torch.nn import functional as F

from .reconstruction.frame import VolumeFrame
from .silhouette import Silhouette

MAX_HALF_THICKNESS = 0.03
"""World units: what is wider than twice that in the photo need not be as thick."""
DOUBTFUL_DISTANCE = 0.03
"""World units: a ray that keeps so far from any surface says e times less about the depth."""
SMOOTHNESS = 10.0
"""Weight of equal depth at neighbouring pixels, that of a ray through a surface being 1."""
NUM_RAY_SAMPLES = 160


@dataclass(frozen=True, kw_only=True)
class SilhouetteLayer:
    """What fills the outline where a signed distance leaves it empty."""

    silhouette: Silhouette
    depth: NDArray[np.floating]
    """`(S, S)` world units along the camera's axis, the middle of the layer."""
    half_thickness: NDArray[np.floating]
    """`(S, S)` world units, 0 where the object is thick enough."""

    @classmethod
    def of_missing(cls, sdf: Tensor, silhouette: Silhouette, frame: VolumeFrame) -> SilhouetteLayer:
        """The layer that a signed distance needs.

        Args:
            sdf: `(R, R, R)` volume units, negative inside, at the nodes of the volume's cube.
            silhouette: Of the photo.
            frame: Of the volume.
        """
        depth, closest = _closest_to_surface(sdf, silhouette, frame)
        wanted = np.minimum(silhouette.inset * depth, MAX_HALF_THICKNESS)
        missing = np.clip(1 + closest / np.maximum(wanted, 1e-6), 0.0, 1.0)
        certainty = np.exp(-np.maximum(closest, 0.0) / DOUBTFUL_DISTANCE)
        return cls(
            silhouette=silhouette,
            depth=_smoothed(depth, certainty, silhouette.mask),
            half_thickness=wanted * missing,
        )

    def distance(self, points: Tensor) -> Tensor:
        """Distance `(P,)` of world points `(P, 3)` to the layer along the camera's axis."""
        picture = torch.from_numpy(np.stack([self.depth, self.half_thickness]))
        depth, half_thickness = self.silhouette.sample(picture, points)
        return (self.silhouette.depth(points) - depth).abs() - half_thickness


def _closest_to_surface(
    sdf: Tensor, silhouette: Silhouette, frame: VolumeFrame
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Where each pixel's ray is deepest inside, or nearest to being so: depth and signed distance.

    Both `(S, S)`, world units.
    """
    centre = frame.to_world(torch.zeros(1, 3, device=sdf.device))
    reach = 3**0.5 * frame.radius
    middle = float(silhouette.depth(centre))
    depths = torch.linspace(middle - reach, middle + reach, NUM_RAY_SAMPLES, device=sdf.device)
    rows = []
    for world in silhouette.ray_points(depths):
        points = frame.to_volume(world.reshape(-1, 3)).reshape(1, *world.shape)
        along = F.grid_sample(
            sdf[None, None].to(points), points.flip(-1)[:, None], align_corners=True
        )[0, 0, 0]
        rows.append(torch.where((points[0].abs() <= 1).all(-1), along, torch.inf).min(-1))
    closest, index = (torch.stack(parts) for parts in zip(*rows, strict=True))
    outside = closest.isinf()
    closest = closest.masked_fill(outside, 2.0) * frame.radius
    depth = depths[index].masked_fill(outside, middle)
    return depth.cpu().numpy(), closest.cpu().numpy()


def _smoothed(
    depth: NDArray[np.floating], certainty: NDArray[np.floating], mask: NDArray[np.bool_]
) -> NDArray[np.floating]:
    """Screened Poisson equation on the mask's pixels; beyond them the nearest one's depth.

    All `(S, S)`.
    """
    index = np.cumsum(mask).reshape(mask.shape) - 1
    ends = [
        np.stack([index[first][both], index[second][both]])
        for first, second in (
            (np.s_[:, :-1], np.s_[:, 1:]),
            (np.s_[:-1], np.s_[1:]),
        )
        for both in [mask[first] & mask[second]]
    ]
    edges = np.concatenate(ends, axis=1)
    num_px = int(mask.sum())
    graph = coo_array((np.ones(edges.shape[1]), tuple(edges)), shape=(num_px, num_px))
    roughness = laplacian(graph + graph.T)
    weight = certainty[mask] + 1e-6
    smoothed = np.array(depth, dtype=np.float64)
    smoothed[mask] = spsolve(
        (diags_array(weight) + SMOOTHNESS * roughness).tocsc(), weight * depth[mask]
    )
    nearest = distance_transform_edt(~mask, return_distances=False, return_indices=True)
    return smoothed[tuple(nearest)]
