# SPDX-License-Identifier: GPL-3.0-or-later
"""How alike pictures are to CLIP, as in the paper's novel views; the user brings the weights."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F
from transformers import CLIPVisionModelWithProjection

from ..contracts.errors import CheckpointError
from ..pipeline.zero123.image_conditioning import encode_tokens, images_from_rgb


class ClipSimilarity:
    """Compares pictures.

    Args:
        folder: A CLIP vision model with its projection, in the transformers layout, safetensors.

    Raises:
        CheckpointError: There is no such model.
    """

    def __init__(self, folder: Path) -> None:
        try:
            self._image_encoder = CLIPVisionModelWithProjection.from_pretrained(
                folder, local_files_only=True, use_safetensors=True
            ).eval()
        except (OSError, ValueError) as error:
            raise CheckpointError(
                f"Expected a CLIP model in {folder}: {error}",
                hint="Give a folder with config.json and model.safetensors.",
            ) from error

    @torch.no_grad()
    def __call__(self, truth: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> float:
        """Mean cosine of the embeddings of pairs of pictures `(V, H, W, 3)`."""
        first, second = (
            encode_tokens(self._image_encoder, images_from_rgb(rgb))[0] for rgb in (truth, pictures)
        )
        return float(F.cosine_similarity(first, second).mean())
