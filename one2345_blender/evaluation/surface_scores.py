# SPDX-License-Identifier: GPL-3.0-or-later
"""Chamfer distance and F-score of a surface after the best similarity (docs/evaluation.md)."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation
from trimesh import Trimesh
from trimesh.sample import sample_surface
from trimesh.transformations import transform_points

from ..contracts.mesh import ColoredMesh

NUM_POINTS = 16_000
LONGEST_SIDE = 2.0
"""Of the truth's bounding box, in which the distances below are counted."""
F_DISTANCES = (0.05, 0.1)

_START_YAWS_DEG = range(0, 360, 30)
_START_TILTS_DEG = (-30, 0, 30)
"""About the input camera's x axis: what a wrong elevation does."""
_CLOSE = 0.01
"""Points closer than this count in the alignment as if they were this far away."""
_COARSE_POINTS, _COARSE_STEPS = 600, 12
_FINE_POINTS, _FINE_STEPS, _NUM_FINE_STARTS = 4_000, 40, 3

Points = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class SurfaceScores:
    """Distances in units in which the truth's longest side is 2."""

    chamfer: float
    """Mean distance to the nearest point of the other surface, mean of both directions."""
    f_05: float
    """Harmonic mean of precision and recall at a distance of 0.05."""
    f_10: float
    f_05_in_place: float
    """`f_05` without alignment: pose and size as the camera sees them."""
    aligned_from_world: NDArray[np.float64]
    """`(4, 4)` similarity, from the mesh's world frame to that of the normalised truth."""


def score_surface(mesh: ColoredMesh, truth_points: Points) -> SurfaceScores:
    """Compare a mesh with points of the true surface, both in the rig's world frame.

    Args:
        mesh: World frame.
        truth_points: `(N, 3)`, world frame.
    """
    points = sample_points(as_trimesh(mesh), NUM_POINTS, seed=0)
    truth_from_world = normalisation(truth_points)
    truth = transform_points(truth_points, truth_from_world)
    start_from_world = normalisation(points)
    in_place_from_start = truth_from_world @ np.linalg.inv(start_from_world)
    aligned_from_start = align(
        transform_points(points, start_from_world), truth, in_place_from_start
    )
    aligned_from_world = aligned_from_start @ start_from_world
    to_truth, to_mesh = _distances(transform_points(points, aligned_from_world), truth)
    in_place = _distances(transform_points(points, truth_from_world), truth)
    return SurfaceScores(
        chamfer=_chamfer(to_truth, to_mesh),
        f_05=_f_score(to_truth, to_mesh, F_DISTANCES[0]),
        f_10=_f_score(to_truth, to_mesh, F_DISTANCES[1]),
        f_05_in_place=_f_score(*in_place, F_DISTANCES[0]),
        aligned_from_world=aligned_from_world,
    )


def as_trimesh(mesh: ColoredMesh) -> Trimesh:
    """Its surface alone."""
    return Trimesh(mesh.vertices, mesh.faces, process=False)


def sample_points(mesh: Trimesh, count: int, *, seed: int) -> Points:
    """`(count, 3)` uniform on the surface."""
    points, _ = sample_surface(mesh, count, seed=seed)
    return np.asarray(points, np.float64)


def normalisation(points: Points) -> NDArray[np.float64]:
    """`(4, 4)` that centres the bounding box and gives its longest side `LONGEST_SIDE`."""
    low, high = points.min(0), points.max(0)
    scale = LONGEST_SIDE / (high - low).max()
    matrix = np.diag([scale, scale, scale, 1.0])
    matrix[:3, 3] = -scale * (low + high) / 2.0
    return matrix


def align(points: Points, truth: Points, in_place: NDArray[np.float64]) -> NDArray[np.float64]:
    """The similarity `(4, 4)` with the smallest chamfer distance that iterated matching finds.

    Matches count in both directions; one alone would let the scale shrink to nothing. It starts
    from `_START_YAWS_DEG` x `_START_TILTS_DEG` and goes on from the best few with more points, and
    from where the mesh stands. All points say which is best; where the mesh stands may be.

    Args:
        points: `(N, 3)`, centred, about as large as the truth.
        truth: `(M, 3)`, centred.
        in_place: `(4, 4)` similarity that leaves the mesh where it stands in the truth's world.
    """
    coarse = _matched(points, truth, _COARSE_POINTS)
    found = []
    for tilt_deg, yaw_deg in product(_START_TILTS_DEG, _START_YAWS_DEG):
        start = np.eye(4)
        start[:3, :3] = Rotation.from_euler("zx", [yaw_deg, tilt_deg], degrees=True).as_matrix()
        found.append(coarse.iterate(start, _COARSE_STEPS))
    found.sort(key=lambda result: result[0])
    fine = _matched(points, truth, _FINE_POINTS)
    starts = [*(matrix for _, matrix in found[:_NUM_FINE_STARTS]), in_place]
    refined = [fine.iterate(start, _FINE_STEPS)[1] for start in starts]
    whole = _matched(points, truth, max(len(points), len(truth)))
    return min([*refined, in_place], key=whole.chamfer)


@dataclass(frozen=True, kw_only=True)
class _Matching:
    """Two point sets and their search trees; neighbours are the same under any similarity."""

    points: Points
    truth: Points
    points_tree: cKDTree
    truth_tree: cKDTree

    def chamfer(self, truth_from_points: NDArray[np.float64]) -> float:
        """The chamfer distance after this similarity."""
        to_truth, _, to_mesh, _ = self._match(truth_from_points)
        return _chamfer(to_truth, to_mesh)

    def iterate(
        self, truth_from_points: NDArray[np.float64], steps: int
    ) -> tuple[float, NDArray[np.float64]]:
        """The chamfer distance and similarity after so many rounds of matching."""
        for _ in range(steps):
            to_truth, nearest_truth, to_mesh, nearest_point = self._match(truth_from_points)
            truth_from_points = _closest_similarity(
                np.concatenate([self.points, self.points[nearest_point]]),
                np.concatenate([self.truth[nearest_truth], self.truth]),
                weights=1.0 / np.maximum(np.concatenate([to_truth, to_mesh]), _CLOSE),
            )
        return self.chamfer(truth_from_points), truth_from_points

    def _match(
        self, truth_from_points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.int64], NDArray[np.float64], NDArray[np.int64]]:
        """Distances and nearest neighbours of the points, then of the truth."""
        scale = np.cbrt(np.linalg.det(truth_from_points[:3, :3]))
        moved = transform_points(self.points, truth_from_points)
        moved_truth = transform_points(self.truth, np.linalg.inv(truth_from_points))
        to_truth, nearest_truth = self.truth_tree.query(moved)
        to_mesh, nearest_point = self.points_tree.query(moved_truth)
        return to_truth, nearest_truth, to_mesh * scale, nearest_point


def _closest_similarity(
    points: Points, truth: Points, weights: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The similarity `(4, 4)` that takes points `(N, 3)` closest to `(N, 3)` others: the smallest
    weighted sum of squares.

    With the distances before as the inverse of the weights `(N,)` that is a step towards the
    smallest sum of distances. Squares alone would let a missing part pull the others out of place.
    """
    middle, truth_middle = (np.average(p, axis=0, weights=weights) for p in (points, truth))
    centred, truth_centred = points - middle, truth - truth_middle
    rotation, _ = Rotation.align_vectors(truth_centred, centred, weights=weights)
    turned = rotation.apply(centred)
    scale = (weights @ (turned * truth_centred)).sum() / (weights @ centred**2).sum()
    similarity = np.eye(4)
    similarity[:3, :3] = scale * rotation.as_matrix()
    similarity[:3, 3] = truth_middle - similarity[:3, :3] @ middle
    return similarity


def _matched(points: Points, truth: Points, count: int) -> _Matching:
    """Evenly drawn parts of both sets (samples of a surface come in random order)."""
    points, truth = points[:count], truth[:count]
    return _Matching(
        points=points, truth=truth, points_tree=cKDTree(points), truth_tree=cKDTree(truth)
    )


def _distances(points: Points, truth: Points) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    to_truth, _ = cKDTree(truth).query(points)
    to_mesh, _ = cKDTree(points).query(truth)
    return to_truth, to_mesh


def _chamfer(to_truth: NDArray[np.float64], to_mesh: NDArray[np.float64]) -> float:
    return float(to_truth.mean() + to_mesh.mean()) / 2.0


def _f_score(to_truth: NDArray[np.float64], to_mesh: NDArray[np.float64], distance: float) -> float:
    precision, recall = (to_truth < distance).mean(), (to_mesh < distance).mean()
    return float(2.0 * precision * recall / max(precision + recall, 1e-12))
