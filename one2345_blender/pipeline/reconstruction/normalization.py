# SPDX-License-Identifier: GPL-3.0-or-later
"""Batch normalisation as the original uses it: batch statistics also at inference, over active sites.

Sources: One-2-3-45 never calls `eval()`, so its published weights expect the statistics of the object
at hand (specification section 6); its 2D layers are InPlaceABN 1.1, whose scale is `|gamma| + eps`.
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

EPS = 1e-5
RUNNING_MOMENTUM = 0.1


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

    def forward(self, x: Tensor, active: Tensor | None = None) -> Tensor:
        """Normalise `x` (B,C,...); `active` (...) bool limits the statistics to those sites."""
        if self.training or self.batch_statistics_at_inference:
            mean, var = _channel_statistics(x, active)
        else:
            mean, var = self.running_mean, self.running_var
        if self.training:
            self._track(mean, var)
        gamma = self.weight.abs() + EPS if self.abs_gamma else self.weight
        scale = gamma * torch.rsqrt(var + EPS)
        shift = self.bias - mean * scale
        shape = (1, -1) + (1,) * (x.ndim - 2)
        return torch.addcmul(shift.view(shape), x, scale.view(shape))

    @torch.no_grad()
    def _track(self, mean: Tensor, var: Tensor) -> None:
        self.running_mean.lerp_(mean.to(self.running_mean), RUNNING_MOMENTUM)
        self.running_var.lerp_(var.to(self.running_var), RUNNING_MOMENTUM)
        self.num_batches_tracked.add_(1)


def _channel_statistics(x: Tensor, active: Tensor | None) -> tuple[Tensor, Tensor]:
    """Mean and biased variance (C,) in float32."""
    if active is None:
        axes = [axis for axis in range(x.ndim) if axis != 1]
        var, mean = torch.var_mean(x.float(), dim=axes, correction=0)
        return mean, var
    sites = x.float().transpose(0, 1).reshape(x.shape[1], -1)  # (C, B*sites)
    weight = active.reshape(-1).to(sites.dtype).repeat(x.shape[0])
    count = weight.sum().clamp_min(1)
    mean = (sites * weight).sum(1) / count
    var = ((sites - mean[:, None]).square() * weight).sum(1) / count
    return mean, var


class ConvNormLeaky2d(nn.Module):
    """2D convolution without bias, `ObjectNorm`, leaky ReLU of slope 0.01 (InPlaceABN's default)."""

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
