# SPDX-License-Identifier: GPL-3.0-or-later
"""Cross-attention to one single token, which is the same vector for every pixel."""

from __future__ import annotations

import torch
from diffusers import UNet2DConditionModel
from diffusers.models.attention_processor import Attention


class OneTokenAttention:
    """Attention whose context is one token: the softmax over one key is 1, whatever the query.

    So what it yields is `to_out(to_v(token))`; queries, keys and the product are left out.
    """

    def __call__(
        self,
        attn: Attention,
        hidden_states: torch.Tensor,
        encoder_hidden_states: torch.Tensor,
        attention_mask: None = None,
    ) -> torch.Tensor:
        """`(B, 1, C)`, which is added to each of the `(B, N, C)` hidden states.

        Args:
            attn: The layer.
            hidden_states: `(B, N, C)`, not looked at.
            encoder_hidden_states: `(B, 1, D)` the token.
            attention_mask: Never given; diffusers passes it to every layer.
        """
        project, dropout = attn.to_out
        return dropout(project(attn.to_v(encoder_hidden_states))) / attn.rescale_output_factor


def fold_one_token_attention(unet: UNet2DConditionModel) -> None:
    """Let all cross-attention layers of a UNet whose context is one token take the short way."""
    unet.set_attn_processor(
        {
            name: OneTokenAttention() if ".attn2." in name else processor
            for name, processor in unet.attn_processors.items()
        }
    )
