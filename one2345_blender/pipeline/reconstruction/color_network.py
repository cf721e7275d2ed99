# SPDX-License-Identifier: GPL-3.0-or-later
"""Colour of a surface point as a learned blend of its colours in the views.

Sources: One-2-3-45, R/models/rendering_network.py and R/models/projector.py:231-425
(specification section 13); the design is IBRNet's (Wang et al. 2021). The first layer on [geometry,
mean, variance, view] is split into a part shared by all views and a part per view: the same
product with a third of the operations.
"""

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MASKED_LOGIT = -1e9
DIRECTION_CHANNELS = 4


def _mlp(*channels: int) -> nn.Sequential:
    """Linear layers with an ELU after each."""
    layers: list[nn.Module] = []
    for in_features, out_features in pairwise(channels):
        layers += [nn.Linear(in_features, out_features), nn.ELU()]
    return nn.Sequential(*layers)


class ColorNetwork(nn.Module):
    """Blends the raw colours of V views at P points."""

    def __init__(self, geometry_channels: int, feature_channels: int) -> None:
        super().__init__()
        self.s = nn.Parameter(torch.tensor(0.2))
        view_channels = 3 + feature_channels
        self.shared_channels = geometry_channels + 2 * view_channels
        self.ray_dir_fc = _mlp(DIRECTION_CHANNELS, 16, view_channels)
        self.base_fc = _mlp(self.shared_channels + view_channels, 64, 32)
        self.vis_fc = _mlp(32, 32, 33)
        self.vis_fc2 = _mlp(32, 32, 1)[:-1]
        self.rgb_fc = _mlp(32 + 1 + DIRECTION_CHANNELS, 16, 8, 1)[:-1]

    def forward(
        self, geometry: Tensor, view_features: Tensor, ray_difference: Tensor, seen: Tensor
    ) -> Tensor:
        """Colours (P,3), sRGB 0..1.

        Args:
            geometry: (P,G) volume features.
            view_features: (V,P,3+F) raw colour, then image features, of each view.
            ray_difference: (V,P,4) difference of the viewing directions and their dot product.
            seen: (V,P) bool: the point projects into the view.
        """
        rgb = view_features[..., :3]
        mask = seen[..., None].to(rgb.dtype)
        features = view_features + self.ray_dir_fc(ray_difference)
        weight = self._view_weights(ray_difference[..., 3:], mask)
        mean = (features * weight).sum(0)
        variance = (weight * (features - mean).square()).sum(0)

        x = self._base(torch.cat([geometry, mean, variance], dim=-1), features)
        residual, visibility = self.vis_fc(x * weight).split([32, 1], dim=-1)
        x = x + residual
        visibility = torch.sigmoid(self.vis_fc2(x * (torch.sigmoid(visibility) * mask))) * mask
        logits = self.rgb_fc(torch.cat([x, visibility, ray_difference], dim=-1))
        blend = logits.masked_fill(~seen[..., None], MASKED_LOGIT).softmax(dim=0)
        return (rgb * blend).sum(0)

    def _view_weights(self, dot: Tensor, mask: Tensor) -> Tensor:
        """(V,P,1) weights for the statistics: views that look along the normal count more."""
        similarity = torch.exp(self.s.abs() * (dot - 1))
        weight = (similarity - similarity.amin(0)) * mask
        return weight / (weight.sum(0) + 1e-8)

    def _base(self, shared: Tensor, features: Tensor) -> Tensor:
        first = self.base_fc[0]
        assert isinstance(first, nn.Linear)
        shared_weight, view_weight = first.weight.split(
            [self.shared_channels, first.in_features - self.shared_channels], dim=1
        )
        x = F.linear(features, view_weight) + F.linear(shared, shared_weight, first.bias)
        return self.base_fc[1:](x)


def ray_differences(camera_centres: Tensor, points: Tensor, target_directions: Tensor) -> Tensor:
    """(V,P,4): unit difference of target and view direction, then their dot product.

    `camera_centres` (V,3), `points` (P,3) and unit `target_directions` (P,3) in volume coordinates.
    """
    to_camera = camera_centres[:, None] - points
    to_camera = to_camera / (to_camera.norm(dim=-1, keepdim=True) + 1e-6)
    difference = target_directions - to_camera
    length = difference.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    dot = (target_directions * to_camera).sum(-1, keepdim=True)
    return torch.cat([difference / length, dot], dim=-1)
