# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the small Zero123: UNet, image encoder and camera projection together, in latents.

Its first guess of each view comes from the trained lifter, as it will when it is used.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler
from torch import nn

from ..pipeline.lifting.photo_elevation import PhotoElevation
from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.zero123.camera_projection import camera_condition
from ..pipeline.zero123.image_conditioning import encode_latents, encode_tokens, images_from_rgb
from ..pipeline.zero123.pipeline_zero123 import Zero123Pipeline
from .run_folder import RunFolder, run_options
from .training_loop import TrainingLoop, average_weights
from .validate_lifter import guessed_views
from .validate_views import validate_views
from .view_data import (
    RigReader,
    RigViews,
    ViewPairs,
    draw_pairs,
    join_rigs,
    one_near_view_each,
)
from .view_networks import new_scheduler, new_view_networks

BATCH_SIZE = 16
PEAK_LEARNING_RATE = 1e-3
CONDITION_DROPOUT = 0.1
INITIAL_NOISE_SCALE = 0.5
READ_EVERY_S = 240.0
ASSETS_PER_READING = 120
"""Encoding all renders at once would hold up the start for minutes."""
VALIDATE_EVERY_S = 600.0
NUM_VALIDATION_OBJECTS = 16


@dataclass(frozen=True, kw_only=True)
class LatentRigs:
    """Rigs with all their views encoded once."""

    rigs: RigViews
    latents: torch.Tensor
    """`(R, V, C, h, w)` float16."""
    guesses: torch.Tensor
    """Like `latents`: what the lifter shows of the photo's object there."""


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training views`."""
    args = run_options("views", __doc__).parse_args(argv)
    torch.set_num_threads(args.threads)
    train_views(
        args.data, minutes=args.minutes, resume=args.resume, rigs_per_asset=args.rigs_per_asset
    )


def train_views(data_dir: Path, *, minutes: float, resume: bool, rigs_per_asset: int) -> Path:
    """Train, then write the pipeline with the averaged weights in diffusers' layout.

    Args:
        data_dir: Holds `renders`, `split.json` and the trained `decoder/vae`,
            `lifter/photo_lifter` and `elevation/photo_elevation`; the run goes to `views` in it.
        minutes: Time of the whole run, sittings before a resumption included.
        resume: Go on from the saved state.
        rigs_per_asset: At most so many rigs of each object are read.

    Returns:
        The folder of the pipeline.
    """
    run = RunFolder(data_dir / "views")
    rng = np.random.default_rng()
    encoders = ViewEncoders.trained(data_dir, rng)
    reader = RigReader(data_dir, "train", rigs_per_asset=rigs_per_asset, rng=rng)
    data = encoders.encode(reader.read_new(max_assets=ASSETS_PER_READING))
    networks = new_view_networks()
    networks.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(networks).eval().requires_grad_(False)
    optimizer = torch.optim.AdamW(
        networks.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    scheduler = new_scheduler()
    pipeline = Zero123Pipeline(
        vae=encoders.vae,
        scheduler=scheduler,
        eta=0.0,
        drops_largest_timestep=False,
        initial_noise_scale=INITIAL_NOISE_SCALE,
        **averaged,
    )
    run.log(
        event="start",
        rigs=len(data.latents),
        parameters={name: sum(p.numel() for p in m.parameters()) for name, m in networks.items()},
    )
    loop = TrainingLoop(
        run,
        {"networks": networks, "averaged": averaged},
        optimizer,
        minutes=minutes,
        resume=resume,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.4,
    )

    def step() -> dict[str, float]:
        pairs = draw_pairs(data.rigs, BATCH_SIZE, rng)
        loss = train_step(networks, scheduler, optimizer, data, pairs)
        average_weights(averaged, networks, loop.progress.step)
        return {"loss": loss}

    def read_new() -> None:
        nonlocal data
        new = reader.read_new(max_assets=ASSETS_PER_READING)
        data = join_latents(data, encoders.encode(new)) if len(new.rgb) else data

    def export_and_score() -> None:
        pipeline.save_pretrained(run.path / "pipeline")
        sheet_path = run.path / f"sheet_{loop.progress.step}.png"
        loop.log(rigs=len(data.latents), scores=_validate(pipeline, encoders, data_dir, sheet_path))

    loop.every(READ_EVERY_S, read_new)
    loop.every(VALIDATE_EVERY_S, export_and_score)
    loop.take_steps(step)
    export_and_score()
    return run.path / "pipeline"


def train_step(
    networks: nn.ModuleDict,
    scheduler: DDIMScheduler,
    optimizer: torch.optim.Optimizer,
    data: LatentRigs,
    pairs: ViewPairs,
) -> float:
    """One step of velocity regression; returns the loss."""
    clean = data.latents[pairs.rig, pairs.target].float()
    batch_size = len(clean)
    keep = (torch.rand(batch_size, 1) >= CONDITION_DROPOUT).float()
    given = [data.latents[pairs.rig, pairs.condition], data.guesses[pairs.rig, pairs.target]]
    condition = torch.cat(given, dim=1).float() * keep[..., None, None]
    camera = camera_condition(
        torch.from_numpy(pairs.d_polar_deg), torch.from_numpy(pairs.d_azimuth_deg)
    )
    num_train = scheduler.config.num_train_timesteps
    strata = (torch.arange(batch_size) + torch.rand(())) / batch_size
    timesteps = (strata * num_train).long().clamp(max=num_train - 1)
    noise = torch.randn_like(clean)
    noisy = scheduler.add_noise(clean, noise, timesteps)
    projection = networks["clip_camera_projection"]
    with torch.autocast("cpu", torch.bfloat16):
        embeds, tokens = encode_tokens(
            networks["image_encoder"], images_from_rgb(data.rigs.rgb[pairs.rig, pairs.condition])
        )
        predicted = networks["unet"](
            torch.cat([noisy, condition], dim=1).contiguous(memory_format=torch.channels_last),
            timesteps,
            projection(embeds, camera, tokens) * keep[..., None],
            class_labels=projection.camera_features(camera) * keep,  # type: ignore[operator]
        ).sample
    velocity = scheduler.get_velocity(clean, noise, timesteps)
    loss = (predicted.float() - velocity).square().mean()
    optimizer.zero_grad()
    loss.backward()
    torch.nn.utils.clip_grad_norm_(networks.parameters(), 1.0)
    optimizer.step()
    return loss.item()


@dataclass(frozen=True, kw_only=True)
class ViewEncoders:
    """The trained networks that turn rigs into what this training works on."""

    vae: AutoencoderKL
    lifter: PhotoLifter
    elevation: PhotoElevation
    rng: np.random.Generator

    @classmethod
    def trained(cls, data_dir: Path, rng: np.random.Generator) -> ViewEncoders:
        """Those that the earlier trainings left in `data_dir`."""
        return cls(
            vae=AutoencoderKL.from_pretrained(data_dir / "decoder" / "vae"),
            lifter=PhotoLifter.from_pretrained(data_dir / "lifter" / "photo_lifter"),
            elevation=PhotoElevation.from_pretrained(data_dir / "elevation" / "photo_elevation"),
            rng=rng,
        )

    def guesses(self, rigs: RigViews) -> Iterator[np.ndarray]:
        """What the lifter shows of each rig's photo in all its views, `(V, H, W, 3)` uint8."""
        for rig in range(len(rigs.rgb)):
            yield guessed_views(self.lifter, self.elevation, rigs, rig)

    @torch.no_grad()
    def encode(self, rigs: RigViews) -> LatentRigs:
        """One near view of each stage-1 view is kept: fewer latents of more objects."""
        rigs = one_near_view_each(rigs, self.rng)
        with torch.autocast("cpu", torch.bfloat16):
            guesses = [self._latents(guess) for guess in self.guesses(rigs)]
            latents = [self._latents(rgb) for rgb in rigs.rgb]
        return LatentRigs(rigs=rigs, latents=torch.stack(latents), guesses=torch.stack(guesses))

    def _latents(self, rgb: np.ndarray) -> torch.Tensor:
        latents = encode_latents(self.vae, images_from_rgb(rgb))
        return (latents * self.vae.config.scaling_factor).half()


def join_latents(first: LatentRigs, second: LatentRigs) -> LatentRigs:
    """All rigs of both."""
    return LatentRigs(
        rigs=join_rigs(first.rigs, second.rigs),
        latents=torch.cat([first.latents, second.latents]),
        guesses=torch.cat([first.guesses, second.guesses]),
    )


def _validate(
    pipeline: Zero123Pipeline, encoders: ViewEncoders, data_dir: Path, sheet_path: Path
) -> dict[str, Any] | None:
    """Scores on the unseen objects rendered so far; none where there are none."""
    reader = RigReader(data_dir, "val", rigs_per_asset=1, num_assets=NUM_VALIDATION_OBJECTS)
    rigs = reader.read_new()
    if not len(rigs.rgb):
        return None
    with torch.autocast("cpu", torch.bfloat16):
        return validate_views(pipeline, np.stack(list(encoders.guesses(rigs))), rigs, sheet_path)
