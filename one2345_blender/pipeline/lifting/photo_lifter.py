# SPDX-License-Identifier: GPL-3.0-or-later
"""The network that guesses, from the photo alone, what lies behind each of its pixels.

Zero123 has to learn from pictures alone what turning a camera means. A small one, trained on few
objects, is helped by knowing it beforehand: a 2D network says for every pixel at which depth its
ray meets the object, and how far behind that it is inside (bins as channels, "voxel tubes"). What
the wanted view would show of that is handed to Zero123's UNet as one more picture.

Bins that began at the camera would have to answer both at once: where the depth is doubtful, no bin
is likely, and the surface that the photo shows is lost.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from diffusers import UNet2DModel
from diffusers.configuration_utils import ConfigMixin, register_to_config
from diffusers.models.modeling_utils import ModelMixin
from torch import Tensor
from torch.nn import functional as F

from ...contracts.cameras import CAMERA_RADIUS, FOCAL_PER_SIDE
from .radiance import VOLUME_HALF_SIDE, composite, density, ray_samples

PATCH_SIZE_PX = 4
COLOR_CHANNELS = 4
"""A colour, and how much of the photo's own colour at that pixel shows through."""
MASK_THRESHOLD = 0.1
EMPTY_LOGIT = -10.0
BIN_LENGTH = 0.0375
"""World units along the view axis, of the bins of being inside."""


@dataclass(frozen=True, kw_only=True)
class LiftedPhoto:
    """What the network makes of `B` photos, in the frames of their cameras."""

    front_depth: Tensor
    """`(B, 1, h, w)` where each pixel's ray meets the object, along the view axis, world units."""
    logit: Tensor
    """`(B, 1, D, h, w)` of being inside the object, in bins of `BIN_LENGTH`: the first one lies
    before that place, the others behind it."""
    color: Tensor
    """`(B, 4, E, h', w')`: sRGB and the photo's share, both before the sigmoid; over the same
    depths."""
    photo: Tensor
    """`(B, 4, S, S)`: sRGB on white and the object's mask, 0..1."""
    cover: Tensor
    """`(B, 1, S, S)`: 1 where the photo shows the object or its rim, else 0."""

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Logit `(B, P)` and sRGB `(B, P, 3)` at points of the photos' cameras.

        Args:
            points: `(B, P, 3)`, OpenCV axes, world units.
        """
        on_photo = photo_coordinates(points, self.photo.shape[-1])
        covered = _sample(self.cover, on_photo)[..., 0] > 0
        behind_front = points[..., 2:] - _sample(self.front_depth, on_photo, "nearest")
        bins = behind_front / BIN_LENGTH + 1.0
        where = torch.cat([on_photo, 2.0 * bins / self.logit.shape[2] - 1.0], dim=-1)
        in_range = where[..., 2].abs() <= 1
        logit = _sample(self.logit, where)[..., 0]
        color = _sample(self.color, where)
        share = color[..., 3:].sigmoid()
        rgb = (
            share * _sample(self.photo[:, :3], on_photo) + (1.0 - share) * color[..., :3].sigmoid()
        )
        return torch.where(covered & in_range, logit, EMPTY_LOGIT), rgb

    def render(self, photo_from_view: Tensor, K: Tensor, size_px: int, num_samples: int) -> Tensor:
        """One view of each photo's object, on white: `(B, 4, S, S)` sRGB and coverage, 0..1.

        Args:
            photo_from_view: `(B, 4, 4)` from the view's camera to the photo's, OpenCV axes.
            K, size_px, num_samples: See `ray_samples`.
        """
        samples, step = ray_samples(K, size_px, num_samples)
        rotation, origin = photo_from_view[:, :3, :3], photo_from_view[:, None, :3, 3]
        points = samples.reshape(-1, 3) @ rotation.mT + origin
        logit, rgb = self.at(points)
        centre = points.new_tensor([0.0, 0.0, CAMERA_RADIUS])
        shape = (len(points), *samples.shape[:2])
        shown = composite(
            density(logit, points - centre).reshape(shape),
            rgb.movedim(-1, 0).reshape(3, *shape),
            step,
        )
        return shown.movedim(0, 1).reshape(-1, 4, size_px, size_px)


class PhotoLifter(ModelMixin, ConfigMixin):
    """Photo to the volume before its camera.

    Args:
        image_size_px: Side of the photo.
        num_depths: Bins of being inside along each ray.
        num_color_depths: Bins of the colours, over the same length.
        block_out_channels: Of the 2D U-Net, whose first level has a quarter of the photo's side.
        layers_per_block: Of the same.
        attention_head_dim: Of its two lowest levels, which attend.
    """

    @register_to_config
    def __init__(
        self,
        image_size_px: int = 128,
        num_depths: int = 32,
        num_color_depths: int = 8,
        block_out_channels: tuple[int, ...] = (64, 96, 160, 224),
        layers_per_block: int = 1,
        attention_head_dim: int = 32,
    ) -> None:
        super().__init__()
        levels = len(block_out_channels)
        attends = [level >= levels - 2 for level in range(levels)]
        self.unet = UNet2DModel(
            sample_size=image_size_px // PATCH_SIZE_PX,
            in_channels=4 * PATCH_SIZE_PX**2,
            out_channels=4 + 4 * num_depths + COLOR_CHANNELS * num_color_depths,
            block_out_channels=tuple(block_out_channels),
            layers_per_block=layers_per_block,
            down_block_types=tuple("AttnDownBlock2D" if a else "DownBlock2D" for a in attends),
            up_block_types=tuple("AttnUpBlock2D" if a else "UpBlock2D" for a in reversed(attends)),
            attention_head_dim=attention_head_dim,
            norm_num_groups=16,
        )

    def forward(self, photo: Tensor) -> LiftedPhoto:
        """Lift photos `(B, 4, S, S)`: sRGB on white and the object's mask, 0..1."""
        blocks = F.pixel_unshuffle(2.0 * photo - 1.0, PATCH_SIZE_PX)
        raw = self.unet(blocks.to(self.dtype), timestep=0).sample.float()
        front, tubes, color = raw.split(
            [4, 4 * self.config.num_depths, COLOR_CHANNELS * self.config.num_color_depths], dim=1
        )
        return LiftedPhoto(
            front_depth=CAMERA_RADIUS + VOLUME_HALF_SIDE * F.pixel_shuffle(front, 2),
            logit=F.pixel_shuffle(tubes, 2)[:, None],
            color=color.unflatten(1, (COLOR_CHANNELS, -1)),
            photo=photo,
            cover=F.max_pool2d((photo[:, 3:] > MASK_THRESHOLD).float(), 3, stride=1, padding=1),
        )


def photo_coordinates(points: Tensor, size_px: int) -> Tensor:
    """Where points before a camera lie in its picture, -1..1 from edge to edge.

    Args:
        points: `(..., 3)`, OpenCV axes, world units.
        size_px: Side of the picture; its pixel `(x, y)` has its centre at `(x, y)`.

    Returns:
        `(..., 2)`: x, y.
    """
    return 2.0 * FOCAL_PER_SIDE * points[..., :2] / points[..., 2:].clamp_min(0.1) + 1.0 / size_px


def _sample(values: Tensor, where: Tensor, mode: str = "bilinear") -> Tensor:
    """`(B, P, C)` of `(B, C, H, W)` or `(B, C, D, H, W)` at `(B, P, 2 or 3)`; the edge outside."""
    dimensions = where.shape[-1]
    grid = where.reshape(where.shape[0], *[1] * (dimensions - 1), -1, dimensions)
    sampled = F.grid_sample(values, grid, mode=mode, padding_mode="border", align_corners=False)
    return sampled.flatten(2).transpose(1, 2)
