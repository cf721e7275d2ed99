# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes on training the autoencoder's decoder alone: the latents stay what they are.

Sharper outlines make truer silhouettes: the autoencoder's short training leaves a halo that widens
every object.
"""

from __future__ import annotations

from pathlib import Path

import torch
from diffusers import AutoencoderKL
from torch import nn

from ..pipeline.zero123.image_conditioning import decode_latents, encode_latents
from .run_folder import RunFolder
from .train_autoencoder import (
    DisturbedViews,
    decoding_loss,
    draw_images,
    train_reader,
    validate_autoencoder,
)
from .training_loop import TrainingLoop
from .training_options import TrainingOptions, parse_options

BATCH_SIZE = 8
PEAK_LEARNING_RATE = 1e-3
LATENT_NOISE = 0.1
SATURATION_RANGE = (0.7, 2.0)
BACKGROUND_FROM_VALUE = 0.99
BACKGROUND_WEIGHT = 2.0
"""Extra weight of errors on white: they widen the silhouette."""
VALIDATE_EVERY_S = 120.0


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training decoder`."""
    train_decoder(parse_options("decoder", __doc__, argv))


def train_decoder(options: TrainingOptions) -> Path:
    """Train, then write the autoencoder with the new decoder in diffusers' layout.

    Args:
        options: `data` holds `renders`, `split.json` and the trained `autoencoder/vae`; the run
            goes to `decoder` in it.

    Returns:
        The folder of the autoencoder.
    """
    run = RunFolder(options.data / "decoder")
    rigs = train_reader(options).read_first()
    vae = AutoencoderKL.from_pretrained(options.data / "autoencoder" / "vae")
    vae.to(memory_format=torch.channels_last)
    vae.encoder.requires_grad_(False)
    vae.quant_conv.requires_grad_(False)
    trained = [parameter for parameter in vae.parameters() if parameter.requires_grad]
    loop = TrainingLoop(
        run,
        DecoderObjective(vae),
        torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=0.01),
        options,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.7,
    )

    loop.saw(len(set(rigs.asset_ids)))

    def export_and_score() -> None:
        vae.save_pretrained(run.path / "vae")
        loop.log(psnr_db=validate_autoencoder(vae, options.data, run.path))

    loop.every(VALIDATE_EVERY_S, export_and_score, at_end=True)
    loop.take_steps(lambda slots: draw_images(rigs, slots, SATURATION_RANGE, LATENT_NOISE))
    return run.path / "vae"


class DecoderObjective(nn.Module):
    """Views from their latents, sharp against a white background."""

    def __init__(self, vae: AutoencoderKL) -> None:
        super().__init__()
        self.vae = vae

    def forward(self, views: DisturbedViews) -> dict[str, torch.Tensor]:
        """The loss of the batch."""
        images = views.images
        with torch.autocast(images.device.type, torch.bfloat16):
            with torch.no_grad():
                latents = encode_latents(self.vae, images)
            decoded = decode_latents(self.vae, latents + views.latent_noise).float()
        background = (images.amin(dim=1, keepdim=True) > BACKGROUND_FROM_VALUE).float()
        halo = (background * (decoded - images)).abs().mean()
        return {"loss": decoding_loss(decoded, images) + BACKGROUND_WEIGHT * halo}
