# SPDX-License-Identifier: GPL-3.0-or-later
"""Elevation of the input camera from its four near views (paper section 3.2).

Zero123 knows poses only relative to the input. Four views at +-10 degrees around it are consistent
in 3D only if the input's elevation is assumed correctly: points triangulated from two of them must
project onto their matches in the other two. Every whole degree is tried.

One-2-3-45 (utils/elev_est_api.py) averages the raw pixel errors, which a few wrong matches can
turn by 30 degrees and more. Here each error is bounded (Geman-McClure), so that the answer is the
elevation on which most matches agree, and the share that agrees is reported.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from ..contracts.cameras import Viewpoint, c2w_from_viewpoints, method_intrinsics
from ..contracts.job import ElevationEstimate
from ..contracts.progress import WarningRaised
from .view_schedule import NUM_NEAR_VIEWS, near_viewpoints

PRIOR_ELEVATION_DEG = 20.0
"""Stands in, visibly, when too little matches: people photograph things from slightly above."""

CANDIDATES_DEG = np.arange(-50.0, 61.0)
"""Elevations that are tried: polar angles 30 to 140 as in the original."""

REFERENCE_SIZE_PX = 256
"""Pixel thresholds below are for views of this size."""

MATCH_RADIUS_PX = 1.0
LOSS_SCALE_PX = 2.0
AGREEMENT_PX = 2.0
MIN_TRACKS = 24
MIN_CONFIDENCE = 0.05

FloatArray = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Matches:
    """Points of image `i` found again in image `j`."""

    px_i: NDArray[np.floating]
    """`(M, 2)`, x right and y down."""
    px_j: NDArray[np.floating]
    """`(M, 2)`."""
    confidence: NDArray[np.floating]
    """`(M,)`, above 0."""

    def swapped(self) -> Matches:
        """The same matches seen from image `j`."""
        return Matches(px_i=self.px_j, px_j=self.px_i, confidence=self.confidence)


PairMatches = Mapping[tuple[int, int], Matches]
"""Matches of near views `i < j`, in the order of `NEAR_OFFSETS`."""


@dataclass(frozen=True, kw_only=True)
class _Tracks:
    """Points seen in cameras `a` and `b`, from which they are triangulated, and in `k`."""

    a: int
    b: int
    k: int
    px: FloatArray  # (3, M, 2) in a, b, k
    weight: FloatArray  # (M,)


def estimate_elevation(
    matches: PairMatches, size_px: int, *, min_confidence: float = MIN_CONFIDENCE
) -> ElevationEstimate:
    """The elevation on which the matches between the four near views of the input agree.

    Args:
        matches: For each pair `i < j` of near views.
        size_px: Side of the views.
        min_confidence: Estimates below it are not believed.

    Returns:
        The estimate. If fewer than `MIN_TRACKS` points are seen in three views, or they do not
        agree on one elevation, `PRIOR_ELEVATION_DEG` with `is_estimated=False` and confidence 0:
        the caller must show that.
    """
    tracks = _three_view_tracks(matches, MATCH_RADIUS_PX * size_px / REFERENCE_SIZE_PX)
    num_tracks = sum(len(t.weight) for t in tracks)
    if num_tracks < MIN_TRACKS:
        return _prior(num_tracks)
    errors_px, weights = elevation_errors(tracks, size_px)
    squared = np.minimum(errors_px, 1e6) ** 2
    costs = np.average(squared / (squared + LOSS_SCALE_PX**2), axis=1, weights=weights)
    best = int(costs.argmin())
    agrees = errors_px[best] < AGREEMENT_PX
    contrast = 1.0 - costs[best] / np.median(costs)
    confidence = float(np.clip(np.average(agrees, weights=weights) * contrast, 0.0, 1.0))
    if confidence < min_confidence or best in (0, len(costs) - 1):
        return _prior(int(agrees.sum()))
    return ElevationEstimate(
        elevation_deg=float(CANDIDATES_DEG[best]),
        is_estimated=True,
        confidence=confidence,
        num_matches=int(agrees.sum()),
    )


def assumption_warning(elevation_deg: float) -> WarningRaised:
    """What the user hears when the near views do not tell the elevation and this one is taken."""
    return WarningRaised(
        "elevation_not_estimated",
        "The camera's elevation could not be estimated: the near views contradict each other. "
        f"{elevation_deg:g} degrees above the horizon is assumed; set the elevation yourself if "
        "the mesh looks squashed or stretched.",
    )


def elevation_errors(tracks: list[_Tracks], size_px: int) -> tuple[FloatArray, FloatArray]:
    """Reprojection errors of all tracks under every candidate.

    Returns:
        Errors `(E, M)` in pixels of a `REFERENCE_SIZE_PX` view, infinite for points behind a
        camera, and weights `(M,)`.
    """
    c2w = np.stack([c2w_from_viewpoints(_near_views(e)) for e in CANDIDATES_DEG])
    w2c = np.linalg.inv(c2w.astype(np.float64))
    projection = method_intrinsics(size_px).astype(np.float64) @ w2c[:, :, :3]
    errors = []
    for t in tracks:
        points = _triangulate(projection[:, [t.a, t.b]], t.px[:2])
        seen = np.concatenate([points, np.ones_like(points[..., :1])], axis=-1)
        u, v, depth = np.moveaxis(np.einsum("eij,emj->emi", projection[:, t.k], seen), -1, 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            error = np.hypot(u / depth - t.px[2, :, 0], v / depth - t.px[2, :, 1])
        errors.append(np.where(depth > 0, error, np.inf) * REFERENCE_SIZE_PX / size_px)
    return np.concatenate(errors, axis=1), np.concatenate([t.weight for t in tracks])


def _prior(num_matches: int) -> ElevationEstimate:
    return ElevationEstimate(
        elevation_deg=PRIOR_ELEVATION_DEG,
        is_estimated=False,
        confidence=0.0,
        num_matches=num_matches,
    )


def _near_views(elevation_deg: float) -> list[Viewpoint]:
    return near_viewpoints(Viewpoint(name="0", azimuth_deg=0.0, elevation_deg=elevation_deg))


def _three_view_tracks(matches: PairMatches, radius_px: float) -> list[_Tracks]:
    """Join matches of neighbours `(a, b)` with the nearest match of `(a, k)` in image `a`."""

    def between(i: int, j: int) -> Matches:
        return matches[i, j] if i < j else matches[j, i].swapped()

    tracks = []
    for a in range(NUM_NEAR_VIEWS):
        b, *others = ((a + step) % NUM_NEAR_VIEWS for step in range(1, NUM_NEAR_VIEWS))
        pair = between(a, b)
        for k in others:
            third = between(a, k)
            if len(pair.confidence) == 0 or len(third.confidence) == 0:
                continue
            distance, nearest = cKDTree(third.px_i).query(pair.px_i)
            keep = distance < radius_px
            px = np.stack([pair.px_i[keep], pair.px_j[keep], third.px_j[nearest[keep]]])
            tracks.append(_Tracks(a=a, b=b, k=k, px=px, weight=third.confidence[nearest[keep]]))
    return tracks


def _triangulate(projection: FloatArray, px: FloatArray) -> FloatArray:
    """Least-squares intersection of two rays, `(E, M, 3)`.

    Args:
        projection: `(E, 2, 3, 4)` pixel-from-world matrices of the two cameras.
        px: `(2, M, 2)` observations.
    """
    rows = px[None, ..., None] * projection[:, :, None, 2:3] - projection[:, :, None, :2]
    num_candidates, _, num_points = rows.shape[:3]
    system = np.moveaxis(rows, 1, 2).reshape(num_candidates, num_points, 4, 4)
    a, b = system[..., :3], -system[..., 3:]
    transposed = np.swapaxes(a, -1, -2)
    damping = 1e-9 * np.eye(3)
    return np.linalg.solve(transposed @ a + damping, transposed @ b)[..., 0]
