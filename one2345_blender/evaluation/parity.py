# SPDX-License-Identifier: GPL-3.0-or-later
"""Largest difference to the original's recorded numbers, intermediate by intermediate.

A recording (`ref48.npz`, `ref96.npz`) holds inputs and outputs of the original's reconstruction
with the weights of `ckpt_seed0_vol96.pth`; its keys are listed in the recordings' README. What a
file holds is compared, so an excerpt serves as well. docs/numerical_parity.md explains the
tolerances.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from scipy.spatial import cKDTree
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.cameras import CameraRig, FloatArray, method_intrinsics, swap_camera_axes
from ..contracts.mesh import ColoredMesh
from ..contracts.transforms_json import read_transforms
from ..pipeline.meshing import extract_mesh
from ..pipeline.reconstruction.checkpoint import load_original_checkpoint
from ..pipeline.reconstruction.color_network import ray_differences
from ..pipeline.reconstruction.feature_net import FeaturePyramid
from ..pipeline.reconstruction.frame import VolumeFrame
from ..pipeline.reconstruction.geometry_volume import GeometryVolume
from ..pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from ..pipeline.reconstruction.sdf_network import sample_latents, trilinear
from ..pipeline.reconstruction.view_sampling import sample_views
from ..pipeline.surface_search import sdf_grid

CAMERA_TOLERANCE = 1e-4
FEATURE_TOLERANCE = 1e-4
COST_TOLERANCE = 1e-4
UNET_TOLERANCE = 5e-4
SDF_TOLERANCE = 1e-4
COLOR_TOLERANCE = 1e-3
VERTEX_TOLERANCE = 1e-3
"""Of the cube's half side."""
COLOR_LEVEL_TOLERANCE = 1.0
"""Of 255: the recording truncates."""
MESH_RESOLUTION = {48: 48, 96: 64}
"""Grid nodes per axis of the recorded mesh, by volume size."""
NUM_THREADS = 2
"""As the recording had: the statistics of the sparse normalisation depend on it from 96^3 on."""

Recording = Mapping[str, NDArray]


@dataclass(frozen=True, kw_only=True)
class Difference:
    """One line of the table."""

    name: str
    largest: float
    magnitude: float
    """Largest absolute value in the recording."""
    tolerance: float

    @property
    def is_within(self) -> bool:
        return self.largest <= self.tolerance


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.evaluation parity`."""
    parser = argparse.ArgumentParser(prog="evaluation parity", description=__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--volume-size", type=int, nargs="+", default=[48, 96], choices=(48, 96))
    args = parser.parse_args(argv)
    torch.set_num_threads(NUM_THREADS)
    posed = read_transforms(args.reference / "scene_polar60")
    for volume_size in args.volume_size:
        with np.load(args.reference / f"ref{volume_size}.npz") as recording:
            reconstructor = original_reconstructor(
                args.reference / "ckpt_seed0_vol96.pth", volume_size
            )
            images = recording["in_images_u8"]
            differences = compare(
                reconstructor, recording, images, posed.cameras, posed.reference_c2w
            )
            print(f"## {volume_size}^3\n\n{format_table(list(differences))}\n")


def read_excerpt_scene(folder: Path) -> tuple[NDArray[np.uint8], CameraRig, FloatArray]:
    """The recordings' scene as `tests/golden` keeps it.

    Returns:
        The 32 views `(32, 3, 256, 256)` uint8, their cameras, and the OpenCV camera-to-world
        `(4, 4)` of the view that the volume is aligned with.
    """
    with Image.open(folder / "original_reconstruction_views.webp") as mosaic:
        tiles = np.asarray(mosaic.convert("RGB")).reshape(8, 256, 4, 256, 3)
    images = tiles.transpose(0, 2, 4, 1, 3).reshape(32, 3, 256, 256)
    with np.load(folder / "original_poses.npz") as poses:
        c2w = swap_camera_axes(poses["c2w_blender_polar60"])
    cameras = CameraRig(
        names=tuple(f"near{i}" for i in range(32)),
        c2w=c2w[8:],
        K=method_intrinsics(256),
        height_px=256,
        width_px=256,
    )
    return images, cameras, c2w[0]


def format_table(differences: list[Difference]) -> str:
    """Markdown."""
    lines = ["| intermediate | largest difference | largest value | tolerance | within |"]
    lines.append("|---|---|---|---|---|")
    lines += [
        f"| {d.name} | {d.largest:.1e} | {d.magnitude:.3g} | {d.tolerance:.0e} "
        f"| {'yes' if d.is_within else 'NO'} |"
        for d in differences
    ]
    return "\n".join(lines)


def original_reconstructor(checkpoint: Path, volume_size: int) -> SparseNeuSReconstructor:
    """The network with the original's settings and the weights of an original checkpoint."""
    voxel_size = {"voxel_size": None} if volume_size != 96 else {}
    reconstructor = SparseNeuSReconstructor(volume_size=volume_size, **voxel_size)
    load_original_checkpoint(reconstructor, checkpoint)
    return reconstructor.eval()


@torch.no_grad()
def compare(
    reconstructor: SparseNeuSReconstructor,
    recording: Recording,
    images: NDArray[np.uint8],
    cameras: CameraRig,
    reference_c2w: FloatArray,
) -> Iterator[Difference]:
    """Every intermediate in the order of the computation.

    The cameras are compared first; then the network runs with the recorded ones, whose float32
    rounding decides for a few border voxels whether a view sees them.
    """
    rgb = torch.from_numpy(images).float() / 255
    exact = reconstructor.place_volume(
        torch.from_numpy(cameras.c2w),
        torch.from_numpy(cameras.K),
        torch.from_numpy(reference_c2w),
        cameras.near_far,
    )
    yield from _compare_cameras(exact, recording)
    frame = replace(
        exact,
        px_from_volume=torch.from_numpy(recording["in_affine_mats"][0, :, :3]),
        camera_centres=torch.from_numpy(recording["in_c2ws"][0, :, :3, 3]),
    )
    probe = _EncoderProbe(reconstructor, recording)
    volume = reconstructor.encode_in_frame(rgb, frame)
    yield from probe.differences
    yield from _compare_volume(volume, recording)
    yield from _compare_sdf(reconstructor, volume, recording)
    yield from _compare_colors(reconstructor, volume, recording)
    resolution = MESH_RESOLUTION[reconstructor.config["volume_size"]]
    mesh = extract_mesh(reconstructor, volume, resolution)
    yield from _compare_mesh(mesh, frame, recording)


def _difference(name: str, ours: Tensor | NDArray, theirs: NDArray, tolerance: float) -> Difference:
    ours = ours.numpy() if isinstance(ours, Tensor) else ours
    difference = np.abs(ours.astype(np.float64) - theirs)
    return Difference(
        name=name,
        largest=float(difference.max()),
        magnitude=float(np.abs(theirs.astype(np.float64)).max()),
        tolerance=tolerance,
    )


def _compare_cameras(frame: VolumeFrame, recording: Recording) -> Iterator[Difference]:
    affine, centres = recording["in_affine_mats"][0, :, :3], recording["in_c2ws"][0, :, :3, 3]
    yield _difference("camera matrices", frame.px_from_volume, affine, CAMERA_TOLERANCE)
    yield _difference("camera centres", frame.camera_centres, centres, CAMERA_TOLERANCE)


class _EncoderProbe:
    """Compares what the 2D and 3D networks pass on, as it appears."""

    def __init__(self, reconstructor: SparseNeuSReconstructor, recording: Recording) -> None:
        self.recording = recording
        self.differences: list[Difference] = []
        reconstructor.feature_net.register_forward_hook(self._compare_pyramid)
        reconstructor.cost_volume.compress.register_forward_hook(self._compare_compressed)
        reconstructor.unet3d.register_forward_pre_hook(self._compare_cost)
        for name, layer in reconstructor.unet3d.named_children():
            layer.register_forward_hook(self._layer_hook(name))

    def _compare_pyramid(
        self, _module: nn.Module, _inputs: tuple[Tensor], pyramid: FeaturePyramid
    ) -> None:
        found = {
            "pyr_feat2_views_0_13_31": pyramid.coarse[[0, 13, 31]],
            "pyr_feat1_view_13_strided4": pyramid.middle[13][:, ::4, ::4],
        }
        for key in found.keys() & self.recording.keys():
            self._add(key, found[key], self.recording[key], FEATURE_TOLERANCE)

    def _compare_compressed(
        self, _module: nn.Module, inputs: tuple[Tensor], compressed: Tensor
    ) -> None:
        row, column = self.recording["feat_px_yx"].T
        for key, maps in (("feat56_at_px", inputs[0]), ("compress16_at_px", compressed)):
            ours = maps[:, :, row, column]
            self._add(key, ours, self.recording[key], FEATURE_TOLERANCE)

    def _compare_cost(self, _module: nn.Module, inputs: tuple[Tensor, Tensor]) -> None:
        features, active = inputs
        bits = np.packbits(active.numpy())
        self._add("active voxels", bits, self.recording["active_coords_bits"], 0.0)
        key = "cost_volume_sample"
        self._add(key, self._at(features, "sample_coords"), self.recording[key], COST_TOLERANCE)

    def _layer_hook(self, name: str) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def compare_layer(_module: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
            num_sites, stride = self.recording[f"unet_{name}_n_stride"]
            count = inputs[1].sum().numpy()
            self._add(f"{name} sites", count, np.asarray(num_sites), 0.0)
            values = self._at(output[0], f"unet_{name}_coords", int(stride))
            self._add(name, values, self.recording[f"unet_{name}_feats"], UNET_TOLERANCE)

        return compare_layer

    def _at(self, volume: Tensor, coords_key: str, stride: int = 1) -> Tensor:
        x, y, z = (self.recording[coords_key][:, :3].astype(np.int64) // stride).T
        return volume[:, x, y, z].T

    def _add(self, name: str, ours: Tensor | NDArray, theirs: NDArray, tolerance: float) -> None:
        self.differences.append(_difference(name, ours, theirs, tolerance))


def _compare_volume(volume: GeometryVolume, recording: Recording) -> Iterator[Difference]:
    x, y, z = recording["sample_coords"][:, :3].astype(np.int64).T
    sampled = volume.features[:, x, y, z].T
    yield _difference("unet_out_sample", sampled, recording["unet_out_sample"], UNET_TOLERANCE)
    key = "geometry_volume_strided3"
    if key in recording:
        strided = volume.features[:, ::3, ::3, ::3]
        yield _difference(key, strided, recording[key], UNET_TOLERANCE)


def _compare_sdf(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume, recording: Recording
) -> Iterator[Difference]:
    points = torch.from_numpy(recording["sdf_pts"])
    latents = sample_latents(volume.features, points, strict_bounds=True)
    full = reconstructor.sdf_network(points, latents)
    features = recording["sdf_feat127_at_pts"]
    yield _difference("latents", latents, recording["sdf_latent_at_pts"], UNET_TOLERANCE)
    yield _difference("sdf_feat127", full[: len(features), 1:], features, SDF_TOLERANCE)
    sdf = reconstructor.sdf(volume, points)
    yield _difference("sdf_at_pts", sdf, recording["sdf_at_pts"][:, 0], SDF_TOLERANCE)
    for resolution in (32, 64):
        key = f"sdf_grid{resolution}"
        if key in recording:
            grid = sdf_grid(reconstructor, volume, resolution)
            yield _difference(key, grid, recording[key], SDF_TOLERANCE)


def _compare_colors(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume, recording: Recording
) -> Iterator[Difference]:
    points = torch.from_numpy(recording["colour_pts"])
    normals = torch.from_numpy(recording["colour_normals"])
    geometry = trilinear(volume.features, points, padding_mode="zeros")
    yield _difference("colour geometry", geometry, recording["colour_geo_feat"], UNET_TOLERANCE)
    samples, seen = sample_views(volume, points)
    theirs = recording["colour_rgbfeat_first64"]
    ours = samples[:, : theirs.shape[1]]
    yield _difference("colour view features", ours, theirs, FEATURE_TOLERANCE)
    theirs = recording["colour_ray_diff_first256"]
    rays = ray_differences(volume.frame.camera_centres, points, normals)[:, : theirs.shape[1]]
    yield _difference("colour directions", rays, theirs, FEATURE_TOLERANCE)
    yield _difference("colour mask", seen.numpy(), recording["colour_mask"], 0.0)
    rgb = reconstructor.color(volume, points, normals)
    yield _difference("colour", rgb, recording["colour_rgb"], COLOR_TOLERANCE)
    _, gradient = reconstructor.sdf_and_gradient(volume, points)
    directions = F.normalize(gradient.detach(), dim=-1, eps=1e-6)
    yield _difference("normals", directions, recording["colour_normals"], COLOR_TOLERANCE)


def _compare_mesh(
    mesh: ColoredMesh, frame: VolumeFrame, recording: Recording
) -> Iterator[Difference]:
    """Each recorded vertex against the nearest one of ours, with its colour."""
    theirs = recording["ply_vertices"]
    distance, nearest = cKDTree(mesh.vertices).query(theirs)
    yield Difference(
        name="mesh vertices",
        largest=float(distance.max()) / frame.radius,
        magnitude=float(np.abs(theirs).max()) / frame.radius,
        tolerance=VERTEX_TOLERANCE,
    )
    colors = mesh.vertex_colors[nearest, :3]
    yield _difference("mesh colours", colors, recording["ply_rgb"], COLOR_LEVEL_TOLERANCE)
