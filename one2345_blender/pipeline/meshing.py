# SPDX-License-Identifier: GPL-3.0-or-later
"""Geometry volume -> coloured triangle mesh: signed distance grid, marching cubes, vertex colours.

Source: One-2-3-45, R/models/sparse_neus_renderer.py:881-937, R/models/trainer_generic.py:1309-1380
(specification section 12).
"""

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import gaussian_filter
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from skimage.measure import marching_cubes
from torch import Tensor
from torch.nn import functional as F
from trimesh import Trimesh

from ..contracts.errors import EmptySurfaceError
from ..contracts.mesh import ColoredMesh
from ..contracts.progress import OnEvent, StageStarted, StepDone, ignore_events
from .lifting.guessed_surface import TRUNCATION, GuessedDistance
from .photo_evidence import NO_EVIDENCE, PhotoEvidence
from .reconstruction.frame import VolumeFrame
from .reconstruction.geometry_volume import GeometryVolume
from .reconstruction.reconstructor import SparseNeuSReconstructor
from .silhouette import Silhouette
from .silhouette_layer import SilhouetteLayer
from .surface_search import sdf_grid, searched_sdf_grid

COLOR_CHUNK_POINTS = 2**9
"""Vertices coloured at once; with 32 views of 64 channels they take 4 MiB, a core's cache."""
GRADIENT_EPS = 1e-6


@torch.no_grad()
def extract_mesh(
    reconstructor: SparseNeuSReconstructor,
    volume: GeometryVolume,
    resolution: int,
    on_event: OnEvent = ignore_events,
    evidence: PhotoEvidence = NO_EVIDENCE,
) -> ColoredMesh:
    """The `iso_level` set of the signed distance, in the world frame, coloured from the views.

    Args:
        resolution: grid nodes per axis over the volume's cube.
        evidence: its outline cuts the mesh and may fill it, its photo colours what it shows.

    Raises:
        EmptySurfaceError: the signed distance has one sign everywhere.
    """
    on_event(StageStarted("sdf"))
    stride = reconstructor.config["surface_search_stride"]
    if stride == 1:
        sdf = sdf_grid(reconstructor, volume, resolution, on_event)
    else:
        sdf = searched_sdf_grid(reconstructor, volume, resolution, stride, on_event)
    guess_share = reconstructor.config["guess_share"]
    if evidence.guess is not None and guess_share:
        sdf = _mixed(sdf, GuessedDistance(evidence.guess), guess_share, volume.frame)
    smoothing_nodes = reconstructor.smoothing * (resolution - 1) / 2
    if smoothing_nodes:
        sdf = torch.from_numpy(gaussian_filter(sdf.cpu().numpy(), smoothing_nodes)).to(sdf)
    if evidence.silhouette is not None:
        sdf = _within_outline(sdf, evidence.silhouette, volume.frame, evidence.fills_silhouette)
    on_event(StageStarted("meshing"))
    vertices, faces = keep_large_parts(
        *zero_level_set(sdf.cpu().numpy()), reconstructor.config["min_part_fraction"]
    )
    points = torch.from_numpy(vertices).to(volume.features.device)
    colors = vertex_colors(reconstructor, volume, points, on_event)
    if evidence.colors is not None:
        normals = Trimesh(vertices, faces, process=False).vertex_normals
        normals = torch.from_numpy(np.array(normals)).to(points)
        colors = evidence.colors.blend(colors, points, normals, sdf, volume.frame)
    rgb = (colors.clamp(0, 1) * 255).to(torch.uint8)
    opaque = torch.full_like(rgb[:, :1], 255)
    return ColoredMesh(
        vertices=volume.frame.to_world(points).cpu().numpy(),
        faces=faces,
        vertex_colors=torch.cat([rgb, opaque], dim=1).cpu().numpy(),
    )


def _mixed(sdf: Tensor, guess: GuessedDistance, share: float, frame: VolumeFrame) -> Tensor:
    """The signed distance (R,R,R) with so much of the guess's in it, both truncated alike."""
    truncated = sdf.clamp(-TRUNCATION / frame.radius, TRUNCATION / frame.radius)
    return torch.lerp(truncated, _at_nodes(guess.at, sdf, frame), share)


def _within_outline(sdf: Tensor, outline: Silhouette, frame: VolumeFrame, fills: bool) -> Tensor:
    """The signed distance (R,R,R) cut at the outline's cone, its empty rays filled before."""
    if fills:
        layer = SilhouetteLayer.of_missing(sdf, outline, frame)
        sdf = torch.minimum(sdf, _at_nodes(layer.distance, sdf, frame))
    return torch.maximum(sdf, _at_nodes(outline.distance, sdf, frame))


def _at_nodes(distance: Callable[[Tensor], Tensor], sdf: Tensor, frame: VolumeFrame) -> Tensor:
    """(R,R,R) volume units: a distance of world points, at the nodes of `sdf`."""
    axis = torch.linspace(-1, 1, len(sdf), device=sdf.device)
    slabs = [distance(frame.to_world(torch.cartesian_prod(x, axis, axis))) for x in axis.split(1)]
    return torch.cat(slabs).view(sdf.shape) / frame.radius


def zero_level_set(
    sdf: NDArray[np.float32],
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Marching cubes (Lorensen and Cline, as the original's PyMCubes) on a grid over [-1,1]^3.

    Args:
        sdf: (X,Y,Z), negative inside.

    Returns:
        Vertices (N,3) in volume coordinates; faces (M,3), counter-clockwise seen from outside.
    """
    if not sdf.min() < 0 < sdf.max():
        inside = "nothing" if sdf.min() >= 0 else "everything"
        raise EmptySurfaceError(
            f"Expected a surface in the volume, but {inside} in it is inside the object.",
            hint="Try another seed or a picture that shows the whole object more clearly.",
        )
    grid_vertices, faces, _, _ = marching_cubes(sdf, level=0.0, method="lorensen")
    vertices = grid_vertices / (np.array(sdf.shape) - 1) * 2 - 1
    return vertices.astype(np.float32), faces.astype(np.int32)


def keep_large_parts(
    vertices: NDArray[np.float32], faces: NDArray[np.int32], min_fraction: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """The connected parts with at least `min_fraction` of the faces of the largest one."""
    edges = (np.ones(2 * len(faces)), (faces[:, [0, 0]].ravel(), faces[:, 1:].ravel()))
    graph = coo_array(edges, shape=(len(vertices), len(vertices)))
    _, part = connected_components(graph, directed=False)
    num_faces = np.bincount(part[faces[:, 0]])
    kept = (num_faces >= min_fraction * num_faces.max())[part]
    new_index = np.cumsum(kept) - 1
    return vertices[kept], new_index[faces[kept[faces[:, 0]]]].astype(np.int32)


def vertex_colors(
    reconstructor: SparseNeuSReconstructor,
    volume: GeometryVolume,
    points: Tensor,
    on_event: OnEvent = ignore_events,
) -> Tensor:
    """(N,3) sRGB 0..1 at surface points (N,3) in volume coordinates."""
    colors = []
    for start in range(0, len(points), COLOR_CHUNK_POINTS):
        chunk = points[start : start + COLOR_CHUNK_POINTS]
        _, gradient = reconstructor.sdf_and_gradient(volume, chunk)
        normals = F.normalize(gradient.detach(), dim=-1, eps=GRADIENT_EPS)
        colors.append(reconstructor.color(volume, chunk, normals))
        on_event(StepDone("meshing", min(start + COLOR_CHUNK_POINTS, len(points)), len(points)))
    return torch.cat(colors)
