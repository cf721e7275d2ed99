# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains the small Zero123: UNet, image encoder and camera projection together, in latents.

Its first guess of each view comes from the trained lifter, as it will when it is used.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
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
from .run_folder import RunFolder
from .train_autoencoder import train_reader
from .training_loop import (
    Slot,
    TrainingLoop,
    TrainingOptions,
    options_from,
    options_parser,
)
from .validate_lifter import guessed_views
from .validate_views import validate_views
from .view_data import (
    RigReader,
    RigViews,
    draw_pairs,
    join_rigs,
    one_near_view_each,
    read_split,
)
from .view_networks import new_scheduler, new_view_networks

BATCH_SIZE = 16
PEAK_LEARNING_RATE = 5e-4
"""With 1e-3 a run diverged after 8,050 steps."""
CONDITION_DROPOUT = 0.1
INITIAL_NOISE_SCALE = 0.5
READ_EVERY_S = 240.0
ASSETS_PER_READING = 240
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


@dataclass(frozen=True, kw_only=True)
class ViewBatch:
    """What one training step sees."""

    clean: torch.Tensor
    """`(B, C, h, w)` latents of the wanted views."""
    condition: torch.Tensor
    """`(B, 2C, h, w)` latents of the given views, and of what the lifter guesses of the wanted."""
    photo: torch.Tensor
    """`(B, 3, H, W)` the given views, in [-1, 1]."""
    camera: torch.Tensor
    """`(B, 4)` from `camera_condition`."""
    keep: torch.Tensor
    """`(B, 1)`: 0 where the network is told nothing, which guidance needs."""
    noise: torch.Tensor
    """Like `clean`."""
    noise_level: torch.Tensor
    """`(B,)` 0..1 of the scheduler's timesteps."""


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training views`."""
    train_views(options_from(options_parser("views", __doc__).parse_args(argv)))


def train_views(options: TrainingOptions) -> Path:
    """Train, then write the pipeline with the averaged weights in diffusers' layout.

    Args:
        options: `data` holds `renders`, `split.json` and the trained `decoder/vae`,
            `lifter/photo_lifter` and `elevation/photo_elevation`; the run goes to `views` in it.

    Returns:
        The folder of the pipeline.
    """
    run = RunFolder(options.data / "views")
    encoders = ViewEncoders.trained(options.data, options.seed)
    reader = train_reader(options)
    assets_per_reading = None if options.steps else ASSETS_PER_READING
    data = encoders.encode(reader.read_new(max_assets=assets_per_reading))
    scheduler = new_scheduler()
    objective = ViewObjective(new_view_networks(), scheduler)
    objective.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    averaged = copy.deepcopy(objective).eval().requires_grad_(False)
    pipeline = Zero123Pipeline(
        vae=encoders.vae,
        scheduler=scheduler,
        eta=0.0,
        drops_largest_timestep=False,
        initial_noise_scale=INITIAL_NOISE_SCALE,
        **averaged.networks,
    )
    optimizer = torch.optim.AdamW(
        objective.parameters(), betas=(0.9, 0.99), weight_decay=0.01, fused=True
    )
    loop = TrainingLoop(
        run,
        objective,
        optimizer,
        options,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE,
        decay_fraction=0.4,
        averaged=averaged,
    )
    parameters = {
        name: sum(p.numel() for p in network.parameters())
        for name, network in averaged.networks.items()
    }
    loop.log(event="start", rigs=len(data.latents), parameters=parameters)

    def read_new() -> None:
        nonlocal data
        new = reader.read_new(max_assets=assets_per_reading)
        data = join_latents(data, encoders.encode(new)) if len(new.rgb) else data

    def export_and_score() -> None:
        pipeline.save_pretrained(run.path / "pipeline")
        sheet_path = run.path / f"sheet_{loop.progress.step}.png"
        scores = _validate(pipeline, encoders, options.data, sheet_path)
        loop.log(rigs=len(data.latents), scores=scores)

    loop.every(READ_EVERY_S, read_new, everywhere=True)
    loop.every(VALIDATE_EVERY_S, export_and_score)
    loop.take_steps(lambda slots: draw_view_batch(data, slots))
    if loop.is_first:
        export_and_score()
    return run.path / "pipeline"


def draw_view_batch(data: LatentRigs, slots: Sequence[Slot]) -> ViewBatch:
    """Random pairs of views, one for each slot, with their noise.

    The noise levels of a batch are spread evenly.
    """
    pairs = draw_pairs(data.rigs, [slot.rng for slot in slots])
    clean = data.latents[pairs.rig, pairs.target].float()
    given = [data.latents[pairs.rig, pairs.condition], data.guesses[pairs.rig, pairs.target]]
    noise = [slot.rng.standard_normal(clean.shape[1:], np.float32) for slot in slots]
    level = [(slot.index + slot.rng.random()) / slot.batch_size for slot in slots]
    keep = [slot.rng.random() >= CONDITION_DROPOUT for slot in slots]
    return ViewBatch(
        clean=clean,
        condition=torch.cat(given, dim=1).float(),
        photo=images_from_rgb(data.rigs.rgb[pairs.rig, pairs.condition]),
        camera=camera_condition(
            torch.from_numpy(pairs.d_polar_deg), torch.from_numpy(pairs.d_azimuth_deg)
        ),
        keep=torch.tensor(keep).float()[:, None],
        noise=torch.from_numpy(np.stack(noise)),
        noise_level=torch.tensor(level),
    )


class ViewObjective(nn.Module):
    """Velocity regression (v-prediction) of the latents of another view.

    Args:
        networks: `unet`, `image_encoder` and `clip_camera_projection`.
        scheduler: Says what noise means.
    """

    def __init__(self, networks: nn.ModuleDict, scheduler: DDIMScheduler) -> None:
        super().__init__()
        self.networks = networks
        self._scheduler = scheduler

    def forward(self, batch: ViewBatch) -> dict[str, torch.Tensor]:
        """The mean squared error of the velocity."""
        scheduler, projection = self._scheduler, self.networks["clip_camera_projection"]
        num_train = scheduler.config.num_train_timesteps
        timesteps = (batch.noise_level * num_train).long().clamp(max=num_train - 1)
        noisy = scheduler.add_noise(batch.clean, batch.noise, timesteps)
        condition = batch.condition * batch.keep[..., None, None]
        with torch.autocast(noisy.device.type, torch.bfloat16):
            embeds, tokens = encode_tokens(self.networks["image_encoder"], batch.photo)
            predicted = self.networks["unet"](
                torch.cat([noisy, condition], dim=1).contiguous(memory_format=torch.channels_last),
                timesteps,
                projection(embeds, batch.camera, tokens) * batch.keep[..., None],
                class_labels=projection.camera_features(batch.camera) * batch.keep,  # type: ignore[operator]
            ).sample
        velocity = scheduler.get_velocity(batch.clean, batch.noise, timesteps)
        return {"loss": (predicted.float() - velocity).square().mean()}


@dataclass(frozen=True, kw_only=True)
class ViewEncoders:
    """The trained networks that turn rigs into what this training works on."""

    vae: AutoencoderKL
    lifter: PhotoLifter
    elevation: PhotoElevation
    seed: int
    """Of the near views that are kept."""

    @classmethod
    def trained(cls, data_dir: Path, seed: int) -> ViewEncoders:
        """Those that the earlier trainings left in `data_dir`."""
        return cls(
            vae=AutoencoderKL.from_pretrained(data_dir / "decoder" / "vae"),
            lifter=PhotoLifter.from_pretrained(data_dir / "lifter" / "photo_lifter"),
            elevation=PhotoElevation.from_pretrained(data_dir / "elevation" / "photo_elevation"),
            seed=seed,
        )

    def guesses(self, rigs: RigViews) -> Iterator[np.ndarray]:
        """What the lifter shows of each rig's photo in all its views, `(V, H, W, 3)` uint8."""
        for rig in range(len(rigs.rgb)):
            yield guessed_views(self.lifter, self.elevation, rigs, rig)

    @torch.no_grad()
    def encode(self, rigs: RigViews) -> LatentRigs:
        """One near view of each stage-1 view is kept: fewer latents of more objects."""
        rigs = one_near_view_each(rigs, self.seed)
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
    names = read_split(data_dir, "val")[:NUM_VALIDATION_OBJECTS]
    rigs = RigReader(data_dir, names, rigs_per_asset=1).read_new()
    if not len(rigs.rgb):
        return None
    with torch.autocast("cpu", torch.bfloat16):
        return validate_views(pipeline, np.stack(list(encoders.guesses(rigs))), rigs, sheet_path)
