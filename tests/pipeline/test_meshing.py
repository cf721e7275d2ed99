# SPDX-License-Identifier: GPL-3.0-or-later
"""From a signed distance grid to a mesh."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import trimesh

from one2345_blender.contracts.cameras import (
    CAMERA_RADIUS,
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    px_from_world,
)
from one2345_blender.contracts.errors import Cancelled, EmptySurfaceError
from one2345_blender.contracts.progress import StepDone
from one2345_blender.pipeline.lifting.guessed_surface import (
    SURFACE_LOGIT,
    TRUNCATION,
    GuessedDistance,
)
from one2345_blender.pipeline.lifting.radiance import RadianceGrid, density, grid_nodes
from one2345_blender.pipeline.meshing import extract_mesh, zero_level_set
from one2345_blender.pipeline.photo_evidence import PhotoEvidence
from one2345_blender.pipeline.reconstruction.geometry_volume import GeometryVolume
from one2345_blender.pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from one2345_blender.pipeline.silhouette import Silhouette

IMAGE_SIZE_PX = 32


@pytest.fixture(scope="module")
def reconstructor() -> SparseNeuSReconstructor:
    return twins()[0]


def twins(**changed: float) -> tuple[SparseNeuSReconstructor, SparseNeuSReconstructor]:
    """An untrained network, and the same with another configuration."""
    torch.manual_seed(0)
    plain = SparseNeuSReconstructor(
        image_size_px=IMAGE_SIZE_PX, volume_size=16, voxel_size=None, volume_bounds="sphere"
    )
    other = SparseNeuSReconstructor.from_config(plain.config, **changed)
    other.load_state_dict(plain.state_dict())
    return plain, other


@pytest.fixture(scope="module")
def volume(reconstructor: SparseNeuSReconstructor) -> GeometryVolume:
    """Four orange pictures around the object."""
    views = [Viewpoint(name="v", azimuth_deg=a, elevation_deg=20.0) for a in (0, 90, 180, 270)]
    c2w = torch.from_numpy(c2w_from_viewpoints(views))
    rgb = torch.tensor([1.0, 0.5, 0.25]).view(1, 3, 1, 1).expand(4, 3, 32, 32)
    K = torch.from_numpy(method_intrinsics(IMAGE_SIZE_PX))
    with torch.no_grad():
        return reconstructor.encode(rgb, c2w, K, c2w[0])


def sphere_grid(radius: float, resolution: int = 48) -> np.ndarray:
    axis = np.linspace(-1, 1, resolution, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    return np.sqrt(x**2 + y**2 + z**2) - np.float32(radius)


def test_sphere_has_its_radius_and_faces_outwards() -> None:
    vertices, faces = zero_level_set(sphere_grid(0.6))
    assert np.allclose(np.linalg.norm(vertices, axis=1), 0.6, atol=1e-3)
    mesh = trimesh.Trimesh(vertices, faces, process=False)
    assert mesh.is_watertight
    assert mesh.volume == pytest.approx(4 / 3 * np.pi * 0.6**3, rel=0.01)
    assert (np.einsum("ij,ij->i", mesh.face_normals, mesh.triangles_center) > 0).all()


def test_axes_keep_their_order() -> None:
    grid = sphere_grid(0.4)
    shifted = np.concatenate([grid[8:], np.ones((8, 48, 48), np.float32)])
    vertices, _ = zero_level_set(shifted)
    assert vertices.mean(0) == pytest.approx([-8 / 47 * 2, 0, 0], abs=0.01)


@pytest.mark.parametrize(("offset", "what"), [(9.0, "nothing"), (-9.0, "everything")])
def test_no_surface_is_an_error_with_a_hint(offset: float, what: str) -> None:
    with pytest.raises(EmptySurfaceError, match=what) as caught:
        zero_level_set(sphere_grid(0.5, 8) + np.float32(offset))
    assert caught.value.hint


def test_mesh_is_in_the_world_with_the_views_colour(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume
) -> None:
    mesh = extract_mesh(reconstructor, volume, 24)
    solid = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
    assert solid.volume > 0
    # an untrained network draws a sphere of half the volume's half side around the world's origin
    radii = np.linalg.norm(mesh.vertices, axis=1)
    assert radii.mean() == pytest.approx(0.31, abs=0.06)
    assert (np.abs(mesh.vertex_colors - np.array([255, 127, 63, 255])) <= 1).all()


@pytest.mark.parametrize("fills", [False, True])
def test_the_mesh_stays_within_the_outline_and_fills_it_if_asked(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume, fills: bool
) -> None:
    """A wide low outline cuts the untrained network's sphere above and below, and exceeds it."""
    mask = np.zeros((IMAGE_SIZE_PX, IMAGE_SIZE_PX), bool)
    mask[13:19, 3:29] = True
    (c2w,) = c2w_from_viewpoints([Viewpoint(name="v", azimuth_deg=0, elevation_deg=20.0)])
    K = method_intrinsics(IMAGE_SIZE_PX)
    outline = Silhouette(mask=mask, c2w=c2w, K=K)
    evidence = PhotoEvidence(silhouette=outline, fills_silhouette=fills)
    mesh = extract_mesh(reconstructor, volume, 64, evidence=evidence)
    px, _ = px_from_world(mesh.vertices, c2w, K)
    low, high = px.min(0), px.max(0)
    assert low[1] > 11.5 and high[1] < 19.5
    sphere_px = 0.31 * K[0, 0] / CAMERA_RADIUS
    half_width = 13 if fills else sphere_px
    np.testing.assert_allclose(high[0] - low[0], 2 * half_width, atol=2)


def test_smoothing_moves_a_ball_as_much_as_a_gaussian_does(volume: GeometryVolume) -> None:
    """Smoothing by s adds s^2 / r to the distance from a ball: an analytic shrinkage."""
    plain, smooth = twins(smoothing_voxels=1.0)
    radius, smoothed = (
        np.linalg.norm(extract_mesh(network, volume, 64).vertices, axis=1).mean()
        for network in (plain, smooth)
    )
    voxel = 2 / 15 * volume.frame.radius
    assert radius - smoothed == pytest.approx(voxel**2 / radius, rel=0.35)


def ball_guess(radius: float, num_nodes: int = 33) -> RadianceGrid:
    """A ball at the world's origin, with odds that change slowly across its surface."""
    points = grid_nodes(num_nodes)
    logit = 8.0 * (radius - points.norm(dim=-1)) + SURFACE_LOGIT
    shape = (num_nodes, num_nodes, num_nodes)
    return RadianceGrid(density=density(logit, points).view(shape), rgb=torch.zeros(3, *shape))


@pytest.mark.parametrize("radius", [0.4, 0.0])
def test_a_guess_has_its_distance(radius: float) -> None:
    points = (torch.rand(2000, 3, generator=torch.Generator().manual_seed(0)) - 0.5) * 1.2
    expected = (points.norm(dim=1) - radius).clamp(-TRUNCATION, TRUNCATION)
    if radius == 0.0:
        expected = torch.full_like(expected, TRUNCATION)
    found = GuessedDistance(ball_guess(radius or -1.0)).at(points)
    assert (found - expected).abs().max() < 0.012
    assert (found - expected).abs().mean() < 0.003


def test_the_guess_has_its_share_of_the_mesh(volume: GeometryVolume) -> None:
    """Between two balls around the same place lies one of the radius between."""
    alone, mixing = twins(guess_share=0.5)
    of_network = np.linalg.norm(extract_mesh(alone, volume, 64).vertices, axis=1).mean()
    evidence = PhotoEvidence(guess=ball_guess(of_network + 0.06))
    ignored, mixed = (
        np.linalg.norm(extract_mesh(network, volume, 64, evidence=evidence).vertices, axis=1)
        for network in (alone, mixing)
    )
    assert ignored.mean() == of_network
    assert mixed.mean() == pytest.approx(of_network + 0.03, abs=0.008)


def test_listener_can_stop_the_work(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume
) -> None:
    def stop_in_sdf(event: object) -> None:
        if isinstance(event, StepDone) and event.stage == "sdf":
            raise Cancelled

    with pytest.raises(Cancelled):
        extract_mesh(reconstructor, volume, 12, stop_in_sdf)
