# SPDX-License-Identifier: GPL-3.0-or-later
"""The signed distance at nodes of a regular grid, without repeating what nodes have in common.

The same numbers as `SdfNetwork.sdf`, up to rounding: its first layer is linear in sines and cosines
of single coordinates, so that on a grid it is a sum of three table rows.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

from .sdf_network import SOFTPLUS_BETA, SdfNetwork, sample_latents


class GridSdf:
    """Signed distance in volume units at the nodes of linspace(-1,1,R) on each axis.

    Args:
        network: its weights are read once, here.
        features: (C,X,Y,Z) the geometry volume.
        resolution: R, nodes per axis.
        strict_bounds: see `sample_latents`.
        iso_level: subtracted from the signed distance.
    """

    @torch.no_grad()
    def __init__(
        self,
        network: SdfNetwork,
        features: Tensor,
        resolution: int,
        *,
        strict_bounds: bool,
        iso_level: float,
    ) -> None:
        self.axis = torch.linspace(-1, 1, resolution, device=features.device)
        self._features = features
        self._strict_bounds = strict_bounds
        self._first_layer = _axis_tables(network, self.axis)
        hidden = network.lin0.bias.numel()
        weight = network.lin1.weight()
        self._middle_hidden, self._middle_latent = weight[:, :hidden].T, weight[:, hidden:]
        self._middle_bias = network.lin1.bias
        row = network.lin2.weight()[0]
        self._last_hidden, self._last_latent = row[:hidden], row[hidden:]
        self._last_bias = network.lin2.bias[0] - iso_level

    @torch.no_grad()
    def __call__(self, index: Tensor) -> Tensor:
        """(P,) at the nodes `index` (P,3)."""
        latents = sample_latents(
            self._features, self.axis[index], strict_bounds=self._strict_bounds
        )
        offsets = torch.arange(3, device=index.device) * len(self.axis)
        x = F.embedding_bag(index + offsets, self._first_layer, mode="sum")
        x = F.softplus(x, SOFTPLUS_BETA)
        x = F.linear(latents, self._middle_latent, self._middle_bias).addmm_(x, self._middle_hidden)
        x = F.softplus(x, SOFTPLUS_BETA)
        return x @ self._last_hidden + latents @ self._last_latent + self._last_bias


def _axis_tables(network: SdfNetwork, axis: Tensor) -> Tensor:
    """(3R,hidden) what each axis' nodes add to the first layer; its bias is in the first axis'."""
    encoded = network.encode_positions(axis[:, None])  # (R,1+2F)
    weight = network.lin0.weight()
    tables = [encoded @ weight[:, column::3].T for column in range(3)]
    return torch.cat([tables[0] + network.lin0.bias, *tables[1:]])
