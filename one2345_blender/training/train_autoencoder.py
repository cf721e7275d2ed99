# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the small autoencoder in whose latents the embedded preset's diffusion works."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL
from PIL import Image

from ..pipeline.zero123.image_conditioning import (
    decode_latents,
    encode_latents,
    images_from_rgb,
    rgb_from_images,
)
from .run_folder import RunFolder, run_options
from .training_loop import TrainingLoop
from .view_data import RigReader, RigViews, join_rigs
from .view_networks import new_autoencoder, normalise_latents

BATCH_SIZE = 8
PEAK_LEARNING_RATE = 1.5e-3
LATENT_NOISE = 0.05
GRADIENT_WEIGHT = 0.5
CHROMA_WEIGHT = 10.0
SATURATION_RANGE = (0.5, 4.0)
"""Most objects are nearly grey: without strong colours thousands of steps learn luminance alone."""
NORM_WEIGHT = 1e-3
VALIDATE_EVERY_S = 120.0
NUM_STATISTICS_VIEWS = 2048
NUM_VALIDATION_OBJECTS = 32


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training autoencoder`."""
    args = run_options("autoencoder", __doc__).parse_args(argv)
    torch.set_num_threads(args.threads)
    train_autoencoder(
        args.data, minutes=args.minutes, resume=args.resume, rigs_per_asset=args.rigs_per_asset
    )


def train_autoencoder(data_dir: Path, *, minutes: float, resume: bool, rigs_per_asset: int) -> Path:
    """Train, then write the normalised autoencoder in diffusers' layout.

    Args:
        data_dir: Holds `renders` and `split.json`; the run goes to `autoencoder` in it.
        minutes: Time of the whole run, sittings before a resumption included.
        resume: Go on from the saved state.
        rigs_per_asset: At most so many rigs of each object are read; new renders join in.

    Returns:
        The folder of the autoencoder.
    """
    run = RunFolder(data_dir / "autoencoder")
    rng = np.random.default_rng()
    reader = RigReader(data_dir, "train", rigs_per_asset=rigs_per_asset, rng=rng)
    rigs = reader.read_new()
    vae = new_autoencoder().to(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(vae.parameters(), betas=(0.9, 0.98), weight_decay=0.01)
    run.log(
        event="start",
        rigs=len(rigs.rgb),
        parameters=sum(p.numel() for p in vae.parameters()),
    )
    loop = TrainingLoop(
        run,
        {"vae": vae},
        optimizer,
        minutes=minutes,
        resume=resume,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.5,
    )

    def step() -> dict[str, float]:
        images = recolored(images_from_rgb(draw_views(rigs, BATCH_SIZE, rng)), SATURATION_RANGE)
        return {"loss": _train_step(vae, optimizer, images)}

    def log_score() -> None:
        loop.log(rigs=len(rigs.rgb), psnr_db=validate_autoencoder(vae, data_dir, run.path))

    def read_new() -> None:
        nonlocal rigs
        rigs = join_rigs(rigs, reader.read_new())

    loop.every(VALIDATE_EVERY_S, log_score)
    loop.every(VALIDATE_EVERY_S, read_new)
    loop.take_steps(step)
    _normalise(vae, draw_views(rigs, NUM_STATISTICS_VIEWS, rng))
    log_score()
    vae.save_pretrained(run.path / "vae")
    return run.path / "vae"


def _train_step(
    vae: AutoencoderKL, optimizer: torch.optim.Optimizer, images: torch.Tensor
) -> float:
    with torch.autocast("cpu", torch.bfloat16):
        latents = encode_latents(vae, images)
        decoded = decode_latents(vae, latents + LATENT_NOISE * torch.randn_like(latents))
    norm = (latents.float().square() - 1.0).clamp(min=0.0).mean()
    loss = decoding_loss(decoded.float(), images) + NORM_WEIGHT * norm
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(vae.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def decoding_loss(decoded: torch.Tensor, images: torch.Tensor) -> torch.Tensor:
    """Distance of values, edges and colours between `(B, 3, H, W)` images in [-1, 1]."""
    error = decoded - images
    edges = error.diff(dim=-1).abs().mean() + error.diff(dim=-2).abs().mean()
    chroma = (error - error.mean(dim=1, keepdim=True)).square().mean()
    return error.abs().mean() + GRADIENT_WEIGHT * edges + CHROMA_WEIGHT * chroma


def recolored(images: torch.Tensor, saturation_range: tuple[float, float]) -> torch.Tensor:
    """Each image with another saturation and its channels shuffled; white stays white."""
    low, high = saturation_range
    saturation = low + (high - low) * torch.rand(len(images), 1, 1, 1)
    grey = images.mean(dim=1, keepdim=True)
    strong = (grey + saturation * (images - grey)).clamp(-1.0, 1.0)
    return torch.stack([image[torch.randperm(3)] for image in strong])


@torch.no_grad()
def _normalise(vae: AutoencoderKL, rgb: np.ndarray) -> None:
    latents = torch.cat(
        [encode_latents(vae, images_from_rgb(batch)) for batch in np.array_split(rgb, 64)]
    )
    normalise_latents(vae, latents.mean((0, 2, 3)), latents.std((0, 2, 3)))


def draw_views(rigs: RigViews, count: int, rng: np.random.Generator) -> np.ndarray:
    """`(count, H, W, 3)` random views of random rigs."""
    num_rigs, num_views = rigs.rgb.shape[:2]
    return rigs.rgb[rng.integers(num_rigs, size=count), rng.integers(num_views, size=count)]


@torch.no_grad()
def validate_autoencoder(vae: AutoencoderKL, data_dir: Path, folder: Path) -> float | None:
    """Mean PSNR in dB over two views of each unseen object rendered so far; writes `sheet.png`."""
    reader = RigReader(data_dir, "val", rigs_per_asset=1, num_assets=NUM_VALIDATION_OBJECTS)
    rigs = reader.read_new()
    if not len(rigs.rgb):
        return None
    rgb = np.concatenate([rigs.rgb[:, 0], rigs.rgb[:, 4]])
    decoded = rgb_from_images(decode_latents(vae, encode_latents(vae, images_from_rgb(rgb))))
    error = ((decoded.astype(np.float64) - rgb) / 255.0) ** 2
    shown = np.concatenate([rgb[:12], decoded[:12]]).reshape(2, -1, *rgb.shape[1:])
    sheet = np.concatenate([np.concatenate(list(row), axis=1) for row in shown], axis=0)
    Image.fromarray(sheet).save(folder / "sheet.png")
    return float(np.mean([-10.0 * math.log10(e.mean()) for e in error]))
