# SPDX-License-Identifier: GPL-3.0-or-later
"""Batch normalisation as the original uses it: with batch statistics also at inference.

One-2-3-45 never calls `eval()`, so its published weights expect the statistics of the object at
hand (specification section 6). Its 2D layers are InPlaceABN 1.1, whose scale is `|gamma| + eps`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5


class ObjectNorm(nn.Module):
    """Per-channel normalisation over all views, pixels or active voxels of one object."""

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(
        self, channels: int, *, batch_statistics_at_inference: bool, abs_gamma: bool
    ) -> None:
        super().__init__()
        self.batch_statistics_at_inference = batch_statistics_at_inference
        self.abs_gamma = abs_gamma
        self.weight = nn.Parameter(torch.ones(channels))
        self.bias = nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.tensor(0, dtype=torch.int64))

    def forward(self, x: Tensor) -> Tensor:
        """Normalise `x` (B,C,...) over all axes but the second."""
        use_batch = self.training or self.batch_statistics_at_inference
        track = self.training or not use_batch
        if self.training:
            self.num_batches_tracked.add_(1)
        return F.batch_norm(
            x,
            self.running_mean if track else None,
            self.running_var if track else None,
            self.weight.abs() + EPS if self.abs_gamma else self.weight,
            self.bias,
            training=use_batch,
            eps=EPS,
        )


class ConvNormLeaky2d(nn.Module):
    """2D convolution without bias, `ObjectNorm`, leaky ReLU of slope 0.01 (as InPlaceABN)."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int = 3,
        stride: int = 1,
        *,
        batch_statistics_at_inference: bool,
        abs_gamma: bool,
    ) -> None:
        super().__init__()
        self.conv = nn.Conv2d(
            in_channels, out_channels, kernel_size, stride, padding=kernel_size // 2, bias=False
        )
        self.norm = ObjectNorm(
            out_channels,
            batch_statistics_at_inference=batch_statistics_at_inference,
            abs_gamma=abs_gamma,
        )

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(self.norm(self.conv(x)), 0.01)
