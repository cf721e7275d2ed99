# SPDX-License-Identifier: GPL-3.0-or-later
"""The frame of the geometry volume: a cube [-1,1]^3 aligned with the reference camera.

Sources: One-2-3-45, R/data/One2345_eval_new_data.py:185-321 and R/data/scene.py:48-134
(specification section 5).
"""

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True, kw_only=True)
class VolumeFrame:
    """Where the volume lies in the world, and the cameras as seen from it."""

    world_from_volume: Tensor
    """(4,4) float64 similarity on the CPU: volume coordinates -> world."""
    camera_centres: Tensor
    """(V,3) float32, volume coordinates."""
    px_from_volume: Tensor
    """(V,3,4) float32: volume point -> homogeneous pixel (u*z, v*z, z), z in volume units."""
    radius: float
    """World length of one volume unit (half the cube's side)."""

    def to_world(self, points: Tensor) -> Tensor:
        """Volume points (P,3) -> world points (P,3) of the same dtype."""
        return _transform(self.world_from_volume, points)

    def to_volume(self, points: Tensor) -> Tensor:
        """World points (P,3) -> volume points (P,3) of the same dtype."""
        return _transform(torch.linalg.inv(self.world_from_volume), points)

    def project(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Volume points (P,3) -> homogeneous pixels (V,P,2) and depth z (V,P), undivided."""
        rotated = torch.einsum("vij,pj->vpi", self.px_from_volume[:, :, :3], points)
        projected = rotated + self.px_from_volume[:, None, :, 3]
        return projected[..., :2], projected[..., 2]


def frusta_bounds(
    c2w: Tensor, K: Tensor, reference_c2w: Tensor, near_far: tuple[float, float], margin: float
) -> tuple[Tensor, float]:
    """Centre (3,) in the reference camera's frame and radius of the cube around all view frusta.

    The frusta are those of the reference view and of the V views; the radius is half the longest
    side of their common box times `margin`. The image spans pixels 0 to 2*principal point.
    """
    size_px = 2 * K[:2, 2].double()
    unit = torch.tensor([(x, y) for x in (0.0, 1.0) for y in (0.0, 1.0)], dtype=torch.float64)
    rays = torch.cat([unit * size_px, torch.ones_like(unit[:, :1])], dim=1)
    rays = rays @ torch.linalg.inv(K.double()).T  # (4,3) at z-depth 1
    corners = torch.cat([rays * depth for depth in near_far])  # (8,3)
    reference_from_view = _reference_from_view(c2w, reference_c2w)
    poses = torch.cat([torch.eye(4, dtype=torch.float64)[None], reference_from_view])
    points = torch.einsum("vij,pj->vpi", poses[:, :3, :3], corners) + poses[:, None, :3, 3]
    low, high = points.amin((0, 1)), points.amax((0, 1))
    return (low + high) / 2, float((high - low).max()) / 2 * margin


def sphere_bounds(reference_c2w: Tensor, radius: float) -> tuple[Tensor, float]:
    """Centre (3,) of the world origin in the reference camera's frame, and `radius`."""
    return torch.linalg.inv(reference_c2w.double())[:3, 3], radius


def volume_frame(
    c2w: Tensor,
    K: Tensor,
    reference_c2w: Tensor,
    centre: Tensor,
    radius: float,
    device: torch.device | str = "cpu",
) -> VolumeFrame:
    """The frame of the cube at `centre` (reference camera's frame) with half side `radius`.

    Args:
        c2w: (V,4,4) OpenCV camera-to-world of the images.
        K: (3,3) intrinsics in pixels, shared by all views.
        reference_c2w: (4,4) OpenCV camera-to-world that the cube's axes are aligned to.
        centre: (3,) float64.
        radius: world units.
        device: where the float32 parts go; the arithmetic is float64 on the CPU.
    """
    reference_from_view = _reference_from_view(c2w, reference_c2w)
    rotation = reference_from_view[:, :3, :3].transpose(1, 2)
    camera_centres = (reference_from_view[:, :3, 3] - centre) / radius
    translation = -torch.einsum("vij,vj->vi", rotation, camera_centres)
    view_from_volume = torch.cat([rotation, translation[..., None]], dim=2)

    reference_from_volume = torch.eye(4, dtype=torch.float64)
    reference_from_volume[:3, :3] *= radius
    reference_from_volume[:3, 3] = centre
    return VolumeFrame(
        world_from_volume=reference_c2w.double() @ reference_from_volume,
        camera_centres=camera_centres.float().to(device),
        px_from_volume=(K.double() @ view_from_volume).float().to(device),
        radius=radius,
    )


def _transform(target_from_source: Tensor, points: Tensor) -> Tensor:
    moved = points.cpu().double() @ target_from_source[:3, :3].T + target_from_source[:3, 3]
    return moved.to(points)


def _reference_from_view(c2w: Tensor, reference_c2w: Tensor) -> Tensor:
    """(V,4,4) float64 camera-to-reference poses."""
    return torch.linalg.inv(reference_c2w.double()) @ c2w.double()
