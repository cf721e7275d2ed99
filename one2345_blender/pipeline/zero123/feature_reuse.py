# SPDX-License-Identifier: GPL-3.0-or-later
"""Two steps of the sampler for little more than one: features reused as in DeepCache."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.unets.unet_2d_condition import UNet2DConditionOutput
from torch import nn


class FeatureReuse:
    """Takes a UNet's place for one run of the sampler (arXiv 2312.00858).

    Every second call evaluates the outermost level alone, whose maps have the latents' size, and
    takes what comes up to it from the levels below from the call before. So nothing is kept while
    the UNet is evaluated as a whole, which is when memory is at its peak.

    Args:
        unet: Of two levels or more.
    """

    def __init__(self, unet: UNet2DConditionModel) -> None:
        self._unet = unet
        self._from_below: torch.Tensor | None = None

    def __call__(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        class_labels: torch.Tensor | None = None,
    ) -> UNet2DConditionOutput:
        """What the UNet returns, or nearly.

        Args:
            sample: `(B, C, h, w)`; after a guided call also its conditional half alone.
            timestep: See the UNet, as for the others.
            encoder_hidden_states: `(B, N, D)`.
            class_labels: `(B, F)` or None.
        """
        from_below, self._from_below = self._from_below, None
        if from_below is None:
            with self._unet.up_blocks[-2].register_forward_hook(self._keep):
                return self._unet(
                    sample, timestep, encoder_hidden_states, class_labels=class_labels
                )
        return UNet2DConditionOutput(
            sample=self._outermost_level(
                sample,
                timestep,
                encoder_hidden_states,
                class_labels,
                from_below[-len(sample) :],
            )
        )

    def _keep(self, _: nn.Module, __: object, features: torch.Tensor) -> None:
        self._from_below = features

    def _outermost_level(
        self,
        sample: torch.Tensor,
        timestep: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        class_labels: torch.Tensor | None,
        from_below: torch.Tensor,
    ) -> torch.Tensor:
        """The parts of `UNet2DConditionModel.forward` that do not hang on the levels below."""
        unet = self._unet
        embedding = unet.time_embedding(unet.get_time_embed(sample, timestep))
        class_embedding = unet.get_class_embed(sample, class_labels)
        if class_embedding is not None:
            embedding = embedding + class_embedding
        down, up = unet.down_blocks[0], unet.up_blocks[-1]
        sample = unet.conv_in(sample)
        _, outputs = down(sample, embedding, encoder_hidden_states=encoder_hidden_states)
        skipped = (sample, *outputs)[: len(up.resnets)]  # the output after them goes down
        decoded = up(
            from_below, skipped, temb=embedding, encoder_hidden_states=encoder_hidden_states
        )
        return unet.conv_out(unet.conv_act(unet.conv_norm_out(decoded)))
