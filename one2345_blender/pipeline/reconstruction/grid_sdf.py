# SPDX-License-Identifier: GPL-3.0-or-later
"""The signed distance at nodes of a regular grid, without repeating what nodes have in common.

The same numbers as `SdfNetwork.sdf`, up to rounding: its first layer is linear in sines and cosines
of single coordinates, so that on a grid it is a sum of three table rows.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .geometry_volume import GeometryVolume
from .sdf_network import SOFTPLUS_BETA, SdfNetwork, mixed_with_guess, sample_latents


class GridSdf:
    """Signed distance in volume units at the nodes of linspace(-1,1,R) on each axis.

    Args:
        network: its weights are read once, here.
        volume: the encoded object.
        resolution: R, nodes per axis.
        strict_bounds: see `sample_latents`.
        iso_level: subtracted from the signed distance.
    """

    @torch.no_grad()
    def __init__(
        self,
        network: SdfNetwork,
        volume: GeometryVolume,
        resolution: int,
        *,
        strict_bounds: bool,
        iso_level: float,
    ) -> None:
        self.axis = torch.linspace(-1, 1, resolution, device=volume.features.device)
        self._volume = volume
        self._strict_bounds = strict_bounds
        self._first_layer = _axis_tables(network, self.axis)
        hidden = network.lin0.bias.numel()
        weight = network.lin1.weight()
        self._middle_hidden, self._middle_latent = weight[:, :hidden].T, weight[:, hidden:]
        self._middle_bias = network.lin1.bias
        outputs = 1 if volume.guess_distance is None else 2
        rows = network.lin2.weight()[:outputs].T
        self._last_hidden, self._last_latent = rows[:hidden], rows[hidden:]
        self._last_bias = network.lin2.bias[:outputs]
        self._iso_level = iso_level

    @torch.no_grad()
    def __call__(self, index: Tensor) -> Tensor:
        """(P,) at the nodes `index` (P,3)."""
        points = self.axis[index]
        latents = sample_latents(self._volume.features, points, strict_bounds=self._strict_bounds)
        offsets = torch.arange(3, device=index.device) * len(self.axis)
        x = F.embedding_bag(index + offsets, self._first_layer, mode="sum")
        x = F.softplus(x, SOFTPLUS_BETA)
        x = F.linear(latents, self._middle_latent, self._middle_bias).addmm_(x, self._middle_hidden)
        x = F.softplus(x, SOFTPLUS_BETA)
        out = F.linear(latents, self._last_latent.T, self._last_bias).addmm_(x, self._last_hidden)
        guessed = self._volume.guessed_at(points)
        sdf = out[:, 0] if guessed is None else mixed_with_guess(out, guessed)
        return sdf - self._iso_level


def _axis_tables(network: SdfNetwork, axis: Tensor) -> Tensor:
    """(3R,hidden) what each axis' nodes add to the first layer; its bias is in the first axis'."""
    encoded = network.encode_positions(axis[:, None])  # (R,1+2F)
    weight = network.lin0.weight()
    tables = [encoded @ weight[:, column::3].T for column in range(3)]
    return torch.cat([tables[0] + network.lin0.bias, *tables[1:]])
