# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed distance of a point from its position and the volume's features there.

Sources: One-2-3-45, R/models/sparse_sdf_network.py:35-136 and 402-420, R/ops/grid_sampler.py:64-216
(specification section 10). Initialised to a sphere that ignores the latents (Atzmon and Lipman
2020).
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SOFTPLUS_BETA = 100.0


class WeightNormLinear(nn.Module):
    """Linear layer whose rows are `weight_g * weight_v / |weight_v|`."""

    def __init__(self, in_features: int, out_features: int) -> None:
        super().__init__()
        linear = nn.Linear(in_features, out_features)
        self.weight_g = nn.Parameter(linear.weight.detach().norm(dim=1, keepdim=True))
        self.weight_v = nn.Parameter(linear.weight.detach().clone())
        self.bias = nn.Parameter(linear.bias.detach().clone())

    def weight(self) -> Tensor:
        return self.weight_v * (self.weight_g / self.weight_v.norm(dim=1, keepdim=True))

    def forward(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight(), self.bias)

    @torch.no_grad()
    def set_weight(self, weight: Tensor, bias: float) -> None:
        self.weight_v.copy_(weight)
        self.weight_g.copy_(weight.norm(dim=1, keepdim=True))
        self.bias.fill_(bias)


class SdfNetwork(nn.Module):
    """(points (P,3), latents (P,L)) -> signed distance in volume units, and features."""

    def __init__(self, latent_channels: int, hidden_channels: int, num_frequencies: int) -> None:
        super().__init__()
        self.num_frequencies = num_frequencies
        encoded = 3 + 6 * num_frequencies
        self.lin0 = WeightNormLinear(encoded, hidden_channels)
        self.lin1 = WeightNormLinear(hidden_channels + latent_channels, hidden_channels)
        self.lin2 = WeightNormLinear(hidden_channels + latent_channels, hidden_channels)
        self._initialise_as_sphere(radius=0.5)

    def forward(self, points: Tensor, latents: Tensor) -> Tensor:
        """(P,hidden): column 0 is the signed distance, the others are features."""
        return self.lin2(self._hidden(points, latents))

    def sdf(self, points: Tensor, latents: Tensor) -> Tensor:
        """(P,) signed distance only."""
        row = self.lin2.weight()[0]
        return self._hidden(points, latents) @ row + self.lin2.bias[0]

    def _hidden(self, points: Tensor, latents: Tensor) -> Tensor:
        x = F.softplus(self.lin0(self.encode_positions(points)), SOFTPLUS_BETA)
        x = F.softplus(self.lin1(torch.cat([x, latents], dim=-1)), SOFTPLUS_BETA)
        return torch.cat([x, latents], dim=-1)

    def encode_positions(self, points: Tensor) -> Tensor:
        """(P,3+6F): the point, then sine and cosine of 2^k times it for k = 0..F-1."""
        encoded = [points]
        for k in range(self.num_frequencies):
            encoded += [torch.sin(points * 2.0**k), torch.cos(points * 2.0**k)]
        return torch.cat(encoded, dim=-1)

    def _initialise_as_sphere(self, radius: float) -> None:
        encoded, hidden = self.lin0.weight_v.shape[1], self.lin0.weight_v.shape[0]
        wide = self.lin1.weight_v.shape[1]
        first = torch.zeros(hidden, encoded)
        first[:, :3] = torch.randn(hidden, 3) * math.sqrt(2 / hidden)
        self.lin0.set_weight(first, 0.0)
        middle = torch.randn(hidden, wide) * math.sqrt(2 / hidden)
        middle[:, hidden:] = 0
        self.lin1.set_weight(middle, 0.0)
        last = math.sqrt(math.pi / hidden) + 1e-4 * torch.randn(hidden, wide)
        last[:, hidden:] = 0
        self.lin2.set_weight(last, -radius)


def sample_latents(features: Tensor, points: Tensor, *, strict_bounds: bool) -> Tensor:
    """Trilinear samples (P,C) of `features` (C,X,Y,Z) at volume points (P,3).

    A point is inside while its grid index lies strictly between 0 and the size on every axis: the
    near faces of the cube get zeros, and one voxel beyond the far faces the border value. With
    `strict_bounds` off, the closed cube is inside.
    """
    size = torch.tensor(features.shape[1:], device=points.device)
    index = (points + 1) / 2 * (size - 1)
    if strict_bounds:
        inside = ((index > 0) & (index < size)).all(-1)
    else:
        inside = (points.abs() <= 1).all(-1)
    samples = trilinear(features, points, padding_mode="border")
    return samples * inside[:, None]


def trilinear(volume: Tensor, points: Tensor, padding_mode: str) -> Tensor:
    """Samples (P,C) of `volume` (C,X,Y,Z) at volume points (P,3); corners are voxel centres."""
    grid = points.flip(-1)[None, :, None, None]  # grid_sample wants (z,y,x) for an X,Y,Z volume
    samples = F.grid_sample(
        volume[None], grid, mode="bilinear", padding_mode=padding_mode, align_corners=True
    )
    return samples[0, :, :, 0, 0].T
