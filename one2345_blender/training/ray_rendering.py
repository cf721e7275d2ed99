# SPDX-License-Identifier: GPL-3.0-or-later
"""Colours along rays through a signed distance, and the losses that the original learns from.

Source: NeuS (arXiv 2106.10689, equations 10 and 13) as SparseNeuS and One-2-3-45 train with it.
Other than there, the distance is taken at both ends of a section, so that no gradient along the ray
is needed, and the losses have their full weights from the first step.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..pipeline.reconstruction.geometry_volume import GeometryVolume
from ..pipeline.reconstruction.reconstructor import SparseNeuSReconstructor

NUM_UNIFORM = 32
IMPORTANCE_ROUNDS = (64.0, 128.0)
"""Sharpness at which each round looks for the surface."""
SAMPLES_PER_ROUND = 16
INITIAL_VARIANCE = 0.2
MIN_WEIGHT = 1e-3
"""Of a section; the colours of those that add less are not looked up."""
NUM_GRADIENT_POINTS = 512
"""Along the rays, and as many anywhere in the volume."""
SPARSE_DECAY = 100.0
EIKONAL_WEIGHT, SPARSE_WEIGHT, COVERAGE_WEIGHT = 0.1, 0.02, 0.1


@dataclass(frozen=True, kw_only=True)
class TargetRays:
    """Pixels of one true view, and the rays on which they lie."""

    origin: Tensor
    """(R,3) world."""
    direction: Tensor
    """(R,3) world, unit."""
    rgb: Tensor
    """(R,3) sRGB 0..1 on white."""
    coverage: Tensor
    """(R,) 0..1 of the pixel by the object."""
    seed: int
    """Of where along the rays is looked."""


class RaySupervision(nn.Module):
    """Losses of rendered rays. Its one parameter says how sharp the surface is."""

    def __init__(self) -> None:
        super().__init__()
        self.variance = nn.Parameter(torch.tensor(INITIAL_VARIANCE))

    def forward(
        self, reconstructor: SparseNeuSReconstructor, volume: GeometryVolume, rays: TargetRays
    ) -> dict[str, Tensor]:
        """`loss`, and its parts: `color` and `coverage` (mean absolute errors), `eikonal`,
        `sparse`."""
        frame = volume.frame
        origin = frame.to_volume(rays.origin)
        direction = F.normalize(frame.to_volume(rays.origin + rays.direction) - origin, dim=-1)

        def sdf_at(points: Tensor) -> Tensor:
            return reconstructor.sdf(volume, points.reshape(-1, 3)).reshape(points.shape[:-1])

        def on_rays(distance: Tensor) -> Tensor:
            return origin[:, None] + distance[..., None] * direction[:, None]

        generator = torch.Generator(origin.device).manual_seed(rays.seed)
        ends = unit_sphere(origin, direction)
        distance = sampled_distances(lambda t: sdf_at(on_rays(t)), *ends, generator)
        sdf = sdf_at(on_rays(distance))
        weight = section_weights(sdf, (10.0 * self.variance).exp().clamp(1e-6, 1e6))
        middle = on_rays((distance[:, 1:] + distance[:, :-1]) / 2.0)
        is_seen = weight.detach() > MIN_WEIGHT
        towards_camera = -direction[:, None].expand_as(middle)
        rgb = reconstructor.color(volume, middle[is_seen], towards_camera[is_seen])
        covered = weight.sum(1)
        shown = torch.zeros_like(rays.rgb).index_add(
            0, is_seen.nonzero()[:, 0], weight[is_seen][:, None] * rgb
        )
        anywhere = 2.0 * _uniform((NUM_GRADIENT_POINTS, 3), generator) - 1.0
        chosen = torch.randint(
            middle[..., 0].numel(), (NUM_GRADIENT_POINTS,), generator=generator, device=sdf.device
        )
        gradient_points = torch.cat([middle.reshape(-1, 3)[chosen], anywhere])
        voxel = 2.0 / (volume.features.shape[-1] - 1)
        gradient = central_differences(sdf_at, gradient_points, voxel / 2.0)
        losses = {
            "color": F.l1_loss(shown + (1.0 - covered)[:, None], rays.rgb),
            "coverage": F.l1_loss(covered, rays.coverage),
            "eikonal": (gradient.norm(dim=-1) - 1.0).square().mean(),
            "sparse": (-SPARSE_DECAY * torch.cat([sdf.flatten(), sdf_at(anywhere)]).abs())
            .exp()
            .mean(),
        }
        loss = (
            losses["color"]
            + COVERAGE_WEIGHT * losses["coverage"]
            + EIKONAL_WEIGHT * losses["eikonal"]
            + SPARSE_WEIGHT * losses["sparse"]
        )
        return {"loss": loss, **losses}


def unit_sphere(origin: Tensor, direction: Tensor) -> tuple[Tensor, Tensor]:
    """Distances (R,) at which rays enter and leave the volume's inscribed sphere.

    Rays that miss it have no length at their nearest point.

    Args:
        origin: (R,3) volume coordinates, outside.
        direction: (R,3) unit.
    """
    middle = -(origin * direction).sum(-1)
    half = (1.0 - (origin + middle[:, None] * direction).square().sum(-1)).clamp_min(0.0).sqrt()
    return middle - half, middle + half


@torch.no_grad()
def sampled_distances(
    sdf_at: Callable[[Tensor], Tensor], near: Tensor, far: Tensor, generator: torch.Generator
) -> Tensor:
    """Distances along rays, ascending: spread evenly, then more where the surface may be.

    Args:
        sdf_at: Signed distance (R,N) at distances (R,N) along the rays.
        near: (R,) where each ray begins.
        far: (R,) where it ends.
        generator: Of their device.

    Returns:
        (R, NUM_UNIFORM + SAMPLES_PER_ROUND * len(IMPORTANCE_ROUNDS)).
    """
    step = torch.arange(NUM_UNIFORM, device=near.device)
    share = (step + _uniform((len(near), NUM_UNIFORM), generator)) / NUM_UNIFORM
    distance = near[:, None] + (far - near)[:, None] * share
    sdf = sdf_at(distance)
    for sharpness in IMPORTANCE_ROUNDS:
        weight = section_weights(sdf, near.new_tensor(sharpness)) + 1e-5
        more = _drawn_by_weight(distance, weight, generator)
        order = torch.cat([distance, more], dim=1).sort(dim=1)
        distance = order.values
        sdf = torch.cat([sdf, sdf_at(more)], dim=1).gather(1, order.indices)
    return distance


def section_weights(sdf: Tensor, sharpness: Tensor) -> Tensor:
    """Share (R,N-1) of a ray's light that each section between two samples (R,N) adds.

    Equation 13 of NeuS: a section is as opaque as the distance falls in it, seen through a sigmoid.
    """
    outside = (sdf * sharpness).sigmoid()
    alpha = ((outside[:, :-1] - outside[:, 1:]) / (outside[:, :-1] + 1e-5)).clamp(0.0, 1.0)
    passed = torch.cat([torch.ones_like(alpha[:, :1]), 1.0 - alpha[:, :-1]], dim=1).cumprod(1)
    return alpha * passed


def central_differences(sdf_at: Callable[[Tensor], Tensor], points: Tensor, step: float) -> Tensor:
    """Gradient (P,3) of the distance at (P,3): sampling volumes has no second derivative."""
    offsets = step * torch.eye(3, device=points.device)
    ahead, behind = (sdf_at(points[:, None] + sign * offsets) for sign in (1.0, -1.0))
    return (ahead - behind) / (2.0 * step)


def _uniform(shape: tuple[int, ...], generator: torch.Generator) -> Tensor:
    return torch.rand(shape, generator=generator, device=generator.device)


def _drawn_by_weight(distance: Tensor, weight: Tensor, generator: torch.Generator) -> Tensor:
    """`SAMPLES_PER_ROUND` distances (R,S), more of them in heavier sections (R,N-1) of (R,N)."""
    share = weight / weight.sum(1, keepdim=True)
    reached = torch.cat([torch.zeros_like(share[:, :1]), share.cumsum(1)], dim=1)
    place = torch.arange(SAMPLES_PER_ROUND, device=weight.device)
    place = (place + _uniform((len(weight), SAMPLES_PER_ROUND), generator)) / len(place)
    section = (torch.searchsorted(reached, place, right=True) - 1).clamp(0, share.shape[1] - 1)
    within = (place - reached.gather(1, section)) / share.gather(1, section)
    start, end = distance.gather(1, section), distance.gather(1, section + 1)
    return start + (end - start) * within.clamp(0.0, 1.0)
