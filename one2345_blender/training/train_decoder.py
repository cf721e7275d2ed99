# SPDX-License-Identifier: GPL-3.0-or-later
"""Goes on training the autoencoder's decoder alone: the latents stay what they are.

Sharper outlines make truer silhouettes: the autoencoder's short training leaves a halo that widens
every object.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from ..pipeline.zero123.image_conditioning import (
    decode_latents,
    encode_latents,
    images_from_rgb,
)
from .run_folder import RunFolder, run_options
from .train_autoencoder import decoding_loss, draw_views, recolored, validate_autoencoder
from .training_loop import TrainingLoop
from .view_data import RigReader

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
    args = run_options("decoder", __doc__).parse_args(argv)
    torch.set_num_threads(args.threads)
    train_decoder(
        args.data, minutes=args.minutes, resume=args.resume, rigs_per_asset=args.rigs_per_asset
    )


def train_decoder(data_dir: Path, *, minutes: float, resume: bool, rigs_per_asset: int) -> Path:
    """Train, then write the autoencoder with the new decoder in diffusers' layout.

    Args:
        data_dir: Holds `renders`, `split.json` and the trained `autoencoder/vae`; the run goes to
            `decoder` in it.
        minutes: Time of the whole run, sittings before a resumption included.
        resume: Go on from the saved state.
        rigs_per_asset: At most so many rigs of each object are read.

    Returns:
        The folder of the autoencoder.
    """
    run = RunFolder(data_dir / "decoder")
    rng = np.random.default_rng()
    rigs = RigReader(data_dir, "train", rigs_per_asset=rigs_per_asset, rng=rng).read_new()
    vae = AutoencoderKL.from_pretrained(data_dir / "autoencoder" / "vae")
    vae.to(memory_format=torch.channels_last)
    trained = [*vae.post_quant_conv.parameters(), *vae.decoder.parameters()]
    optimizer = torch.optim.AdamW(trained, betas=(0.9, 0.98), weight_decay=0.01)
    loop = TrainingLoop(
        run,
        {"vae": vae},
        optimizer,
        minutes=minutes,
        resume=resume,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.7,
    )

    def step() -> dict[str, float]:
        images = recolored(images_from_rgb(draw_views(rigs, BATCH_SIZE, rng)), SATURATION_RANGE)
        return {"loss": _train_step(vae, trained, optimizer, images)}

    def log_score() -> None:
        loop.log(psnr_db=validate_autoencoder(vae, data_dir, run.path))

    loop.every(VALIDATE_EVERY_S, log_score)
    loop.take_steps(step)
    log_score()
    vae.save_pretrained(run.path / "vae")
    return run.path / "vae"


def _train_step(
    vae: AutoencoderKL,
    trained: list[torch.nn.Parameter],
    optimizer: torch.optim.Optimizer,
    images: torch.Tensor,
) -> float:
    with torch.autocast("cpu", torch.bfloat16):
        with torch.no_grad():
            latents = encode_latents(vae, images)
        decoded = decode_latents(vae, latents + LATENT_NOISE * torch.randn_like(latents)).float()
    background = (images.amin(dim=1, keepdim=True) > BACKGROUND_FROM_VALUE).float()
    halo = (background * (decoded - images)).abs().mean()
    loss = decoding_loss(decoded, images) + BACKGROUND_WEIGHT * halo
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(trained, 1.0)
    optimizer.step()
    return loss.item()
