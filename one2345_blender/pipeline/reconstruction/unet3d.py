# SPDX-License-Identifier: GPL-3.0-or-later
"""3D U-Net on the cost volume, dense with a mask of active voxels.

Equal to the sparse network of One-2-3-45 (R/tsparse/modules.py:259-304 on torchsparse 1.4):
inactive sites are zero, and the statistics of the normalisation run over active sites only
(specification section 9).
"""

from functools import partial

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from .normalization import ObjectNorm


class SparseBlock(nn.Module):
    """3x3x3 convolution without bias, `ObjectNorm` over active sites, ReLU, zero elsewhere."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        *,
        stride: int = 1,
        transposed: bool = False,
        batch_statistics_at_inference: bool,
    ) -> None:
        super().__init__()
        conv = nn.ConvTranspose3d if transposed else nn.Conv3d
        self.conv = conv(in_channels, out_channels, 3, stride, padding=1, bias=False)
        self.norm = ObjectNorm(
            out_channels,
            batch_statistics_at_inference=batch_statistics_at_inference,
            abs_gamma=False,
        )

    def forward(self, x: Tensor, active: Tensor) -> Tensor:
        """`x` (1,C,...) on the input grid; `active` (...) bool on the output grid."""
        y = self.conv(x) if isinstance(self.conv, nn.Conv3d) else self._upsample(x, active)
        sites = y[0].permute(1, 2, 3, 0)[active]  # (N,C), the layout that the original normalises
        volume = y.new_zeros((*active.shape, y.shape[1]))
        volume[active] = F.relu(self.norm(sites))
        return volume.permute(3, 0, 1, 2)[None]

    def _upsample(self, x: Tensor, active: Tensor) -> Tensor:
        missing = [
            max(0, fine - (2 * coarse - 1))
            for fine, coarse in zip(active.shape, x.shape[2:], strict=True)
        ]
        y = F.conv_transpose3d(x, self.conv.weight, stride=2, padding=1, output_padding=missing)
        X, Y, Z = active.shape
        return y[:, :, :X, :Y, :Z]


class UNet3d(nn.Module):
    """(C_in,X,Y,Z) and its active mask -> (C_out,X,Y,Z), three levels of downsampling.

    Args:
        in_channels: channels of the cost volume.
        channels: of the four levels, finest first; the output has `channels[0]`.
        unbounded_far_sites: place sites as the sparse library does: one more site beyond an even
            far border, none below the smallest active coordinate.
    """

    def __init__(
        self,
        in_channels: int,
        channels: tuple[int, int, int, int],
        *,
        unbounded_far_sites: bool,
        batch_statistics_at_inference: bool,
    ) -> None:
        super().__init__()
        c0, c1, c2, c3 = channels
        block = partial(SparseBlock, batch_statistics_at_inference=batch_statistics_at_inference)
        self.unbounded_far_sites = unbounded_far_sites
        self.conv0 = block(in_channels, c0)
        self.conv1 = block(c0, c1, stride=2)
        self.conv2 = block(c1, c1)
        self.conv3 = block(c1, c2, stride=2)
        self.conv4 = block(c2, c2)
        self.conv5 = block(c2, c3, stride=2)
        self.conv6 = block(c3, c3)
        self.conv7 = block(c3, c2, stride=2, transposed=True)
        self.conv9 = block(c2, c1, stride=2, transposed=True)
        self.conv11 = block(c1, c0, stride=2, transposed=True)

    def forward(self, cost_features: Tensor, active: Tensor) -> Tensor:
        active0 = active
        skip0 = self.conv0(cost_features[None], active0)
        x, active1 = self._downsample(skip0, active0)
        skip1 = self.conv2(self.conv1(x, active1), active1)
        x, active2 = self._downsample(skip1, active1)
        skip2 = self.conv4(self.conv3(x, active2), active2)
        x, active3 = self._downsample(skip2, active2)
        x = self.conv6(self.conv5(x, active3), active3)
        x = skip2 + self.conv7(x, active2)
        x = skip1 + self.conv9(x, active1)
        return (skip0 + self.conv11(x, active0))[0]

    def _downsample(self, x: Tensor, active: Tensor) -> tuple[Tensor, Tensor]:
        """Input `x` of a stride-2 convolution, padded as needed, and the coarse active mask."""
        if self.unbounded_far_sites:
            far_planes = [1 - size % 2 for size in active.shape]
            padding = (0, far_planes[2], 0, far_planes[1], 0, far_planes[0])
            x, padded = F.pad(x, padding), F.pad(active, padding)
        else:
            padded = active
        coarse = F.max_pool3d(padded[None].float(), 3, stride=2, padding=1)[0] > 0
        if self.unbounded_far_sites:
            coarse = coarse & _not_below_minimum(active, coarse)
        return x, coarse


def _not_below_minimum(active: Tensor, coarse: Tensor) -> Tensor:
    """Coarse sites (bool) whose coordinate is at least the smallest active one on each axis."""
    keep = torch.ones_like(coarse)
    for axis in range(3):
        others = [other for other in range(3) if other != axis]
        occupied = active.any(dim=others[1]).any(dim=others[0])
        first = int(occupied.int().argmax())
        shape = [1, 1, 1]
        shape[axis] = -1
        index = torch.arange(coarse.shape[axis], device=coarse.device)
        keep = keep & (2 * index >= first).view(shape)
    return keep
