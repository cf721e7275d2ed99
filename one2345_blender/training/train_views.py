# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains a Zero123: UNet, image encoder and camera projection together, in latents.

A small one from nothing; its first guess of each view comes from the trained lifter, as it will
when it is used. Or further the one of a preset's folder, as it was trained: without the image
encoder.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from diffusers.models.attention_processor import AttnProcessor2_0
from torch import nn

from ..contracts.errors import OptionError
from ..pipeline.zero123.camera_projection import camera_condition
from ..pipeline.zero123.image_conditioning import decode_latents, encode_tokens, images_from_rgb
from ..pipeline.zero123.pipeline_zero123 import Zero123Pipeline
from .run_folder import RunFolder
from .train_autoencoder import train_reader
from .training_loop import Slot, TrainingLoop
from .training_options import TrainingOptions, add_start_from, options_from, options_parser
from .validate_views import validate_views
from .view_data import ANY_PAIRS, METHOD_PAIRS, RigReader, draw_pairs, read_split
from .view_encoders import LatentRigs, join_latents
from .view_generator import ViewGenerator
from .view_networks import attend_step_by_step
from .view_recipes import RECIPES, SHIPPED, ViewRecipe

BATCH_SIZE = 16
PEAK_LEARNING_RATE = 5e-4
"""With 1e-3 a run diverged after 8,050 steps."""
FURTHER_LEARNING_RATE = 1e-5
"""For networks that were trained before."""
CONDITION_DROPOUT = 0.1
PIXEL_WEIGHT = 4.0
"""Of the decoded picture beside the latents, whose errors are about as much larger."""
READ_EVERY_S = 240.0
ASSETS_PER_READING = 240
"""Encoding all renders would hold up the start for minutes, and take room for all their views."""
VALIDATE_EVERY_S = 600.0
NUM_VALIDATION_OBJECTS = 16


@dataclass(frozen=True, kw_only=True)
class ViewBatch:
    """What one training step sees."""

    clean: torch.Tensor
    """`(B, C, h, w)` latents of the wanted views, not scaled."""
    wanted_rgb: torch.Tensor
    """`(B, 3, H, W)` these views, in [-1, 1]."""
    condition: torch.Tensor
    """`(B, C or 2C, h, w)` latents of the given views, and of what the lifter guesses of the
    wanted."""
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
    is_one_step: torch.Tensor
    """`(B,)` bool: the view is to be drawn from nothing in one step."""


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training views`."""
    parser = options_parser("views", __doc__)
    parser.add_argument("--recipe", choices=RECIPES, default="velocity", help="see view_recipes.py")
    add_start_from(
        parser, "train the networks of this preset's folder further; the result is such a folder"
    )
    args = parser.parse_args(argv)
    train_views(options_from(args), args.start_from, RECIPES[args.recipe])


def train_views(
    options: TrainingOptions, start_from: Path | None = None, recipe: ViewRecipe = SHIPPED
) -> Path:
    """Train, then write the pipeline with the averaged weights in diffusers' layout.

    Args:
        options: `data` holds `renders`, `split.json` and, for a new Zero123, the trained
            `decoder/vae`, `lifter/photo_lifter` and `elevation/photo_elevation`; the run goes to
            `views` in it.
        start_from: The folder of a preset whose Zero123 is trained further.
        recipe: Of a new Zero123; of a preset's what is learnt, not how it is built.

    Returns:
        The folder of the pipeline; with `start_from` that of a preset.

    Raises:
        OptionError: `start_from` lies in the run's folder, which a new run sets aside.
    """
    run = RunFolder(options.data / "views")
    if start_from is not None and not options.resume and run.holds(start_from):
        raise OptionError(
            f"{start_from} lies in the run's own folder, and would be set aside with the last run.",
            hint="Go on with --resume, or move it elsewhere first.",
        )
    generator = (
        ViewGenerator.untrained(options.data, options.seed, recipe)
        if start_from is None
        else ViewGenerator.of_preset(start_from, options.data, options.seed)
    )
    if recipe.is_drawn_otherwise:
        generator = generator.drawing(recipe.samplings[0])
    reader = train_reader(options)
    parts = [generator.encoders.encode(reader.read_first(max_assets=ASSETS_PER_READING))]
    while options.steps and (new := reader.read_new(max_assets=ASSETS_PER_READING)).asset_ids:
        parts.append(generator.encoders.encode(new))
    data = join_latents(parts)
    loop = view_training_loop(run, generator, options, recipe)
    loop.saw(len(set(data.rigs.asset_ids)))
    loop.log(event="start", rigs=len(data.latents), started_from=start_from and str(start_from))

    def read_new() -> None:
        nonlocal data
        new = reader.read_new(max_assets=ASSETS_PER_READING)
        if new.asset_ids:
            data = join_latents([data, generator.encoders.encode(new)])
        loop.saw(len(set(data.rigs.asset_ids)))

    def export_and_score() -> None:
        generator.export(run.path / "pipeline")
        sheet_path = run.path / f"sheet_{loop.progress.step}.png"
        scores = _validate(generator, options.data, sheet_path)
        loop.log(rigs=len(data.latents), scores=scores)

    loop.every(READ_EVERY_S, read_new, everywhere=True)
    loop.every(VALIDATE_EVERY_S, export_and_score, at_end=True)
    loop.take_steps(lambda slots: draw_view_batch(data, slots, recipe))
    return run.path / "pipeline"


def view_training_loop(
    run: RunFolder, generator: ViewGenerator, options: TrainingOptions, recipe: ViewRecipe
) -> TrainingLoop:
    """The loop that trains the generator's networks; these are its running mean."""
    averaged = ViewObjective(generator.networks, generator.zero123, recipe)
    averaged.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    objective = copy.deepcopy(averaged).requires_grad_(True)
    averaged.eval().requires_grad_(False)
    is_new = generator.preset_dir is None
    if generator.is_published:
        objective.train_as_published()
    else:
        attend_step_by_step(objective.networks)
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    loop = TrainingLoop(
        run,
        objective,
        torch.optim.AdamW(trained, betas=(0.9, 0.99), weight_decay=0.01, fused=True),
        options,
        batch_size=BATCH_SIZE,
        peak_rate=PEAK_LEARNING_RATE if is_new else FURTHER_LEARNING_RATE,
        decay_fraction=0.4,
        averaged=averaged,
    )
    parameters = {
        name: sum(p.numel() for p in network.parameters())
        for name, network in averaged.networks.items()
    }
    loop.log(parameters=parameters)
    return loop


def draw_view_batch(
    data: LatentRigs, slots: Sequence[Slot], recipe: ViewRecipe = SHIPPED
) -> ViewBatch:
    """Random pairs of views, one for each slot, with their noise.

    The noise levels of a batch are spread evenly.
    """
    kinds = METHOD_PAIRS if recipe.offsets == "method" else ANY_PAIRS
    pairs = draw_pairs(data.rigs, [slot.rng for slot in slots], kinds)
    clean = data.latents[pairs.rig, pairs.target].float()
    given = [data.latents[pairs.rig, pairs.condition]]
    if data.guesses is not None and recipe.takes_guess:
        given.append(data.guesses[pairs.rig, pairs.target])
    noise = [slot.rng.standard_normal(clean.shape[1:], np.float32) for slot in slots]
    place = torch.tensor([(slot.index + slot.rng.random()) / slot.batch_size for slot in slots])
    keep = torch.tensor([slot.rng.random() >= CONDITION_DROPOUT for slot in slots])
    denoised_share = 1.0 - recipe.one_step_share
    is_one_step = place >= denoised_share
    return ViewBatch(
        clean=clean,
        wanted_rgb=images_from_rgb(data.rigs.rgb[pairs.rig, pairs.target]),
        condition=torch.cat(given, dim=1).float(),
        photo=images_from_rgb(data.rigs.rgb[pairs.rig, pairs.condition]),
        camera=camera_condition(
            torch.from_numpy(pairs.d_polar_deg), torch.from_numpy(pairs.d_azimuth_deg)
        ),
        keep=(keep | is_one_step).float()[:, None],
        noise=torch.from_numpy(np.stack(noise)) * ~is_one_step[:, None, None, None],
        noise_level=torch.where(
            is_one_step, 1.0, recipe.highest_noise_level * place / max(denoised_share, 1e-6)
        ),
        is_one_step=is_one_step,
    )


class ViewObjective(nn.Module):
    """Regression of what the scheduler lets the network predict: velocity, noise or picture.

    Args:
        networks: `unet`, `image_encoder` and `clip_camera_projection`.
        zero123: Whose scheduler says what noise means and what is predicted; its autoencoder stays
            as it is.
        recipe: Which errors count.
    """

    def __init__(
        self, networks: nn.ModuleDict, zero123: Zero123Pipeline, recipe: ViewRecipe = SHIPPED
    ) -> None:
        super().__init__()
        self.networks = networks
        self._scheduler = zero123.scheduler
        self._latent_scale = zero123.vae.config.scaling_factor
        self._from_guess = recipe.samplings[0] if recipe.drawn_from == "guess" else None
        self._decode = partial(decode_latents, zero123.vae) if recipe.learns_median else None

    def train_as_published(self) -> None:
        """Leave the image encoder as it is, and let the UNet attend to its context in full.

        The short way that `Zero123Pipeline` takes where that is one token gives some weights no
        gradient, and several processes would wait for it.
        """
        self.networks["image_encoder"].requires_grad_(False)
        self.networks["unet"].set_attn_processor(AttnProcessor2_0())  # type: ignore[operator]

    def forward(self, batch: ViewBatch) -> dict[str, torch.Tensor]:
        """The mean squared error of the prediction."""
        scheduler, projection = self._scheduler, self.networks["clip_camera_projection"]
        unet = self.networks["unet"]
        num_train = scheduler.config.num_train_timesteps
        timesteps = (batch.noise_level * num_train).long().clamp(max=num_train - 1)
        clean = self._latent_scale * batch.clean
        noise = self._noise(clean, batch)
        noisy = scheduler.add_noise(clean, noise, timesteps)
        condition = batch.condition * batch.keep[..., None, None]
        takes_camera = unet.config.class_embed_type == "projection"  # type: ignore[union-attr]
        camera = projection.camera_features(batch.camera) * batch.keep  # type: ignore[operator]
        with torch.autocast(noisy.device.type, torch.bfloat16):
            embeds, tokens = encode_tokens(self.networks["image_encoder"], batch.photo)
            predicted = unet(
                torch.cat([noisy, condition], dim=1).contiguous(memory_format=torch.channels_last),
                timesteps,
                projection(embeds, batch.camera, tokens) * batch.keep[..., None],
                class_labels=camera if takes_camera else None,
            ).sample
        predicted = predicted.float()
        kind = scheduler.config.prediction_type
        if kind == "epsilon":
            wanted = noise
        elif kind == "sample":
            wanted = clean
        else:
            wanted = scheduler.get_velocity(clean, noise, timesteps)
        if self._decode is None:
            return {"loss": (predicted - wanted).square().mean()}
        one_step = batch.is_one_step
        latents = (predicted - wanted)[one_step].abs().mean()
        drawn = predicted[one_step] if kind == "sample" else -predicted[one_step]
        with torch.autocast(noisy.device.type, torch.bfloat16):
            pixels = self._decode(drawn).float()
        pixels = (pixels - batch.wanted_rgb[one_step]).abs().mean()
        loss = latents + PIXEL_WEIGHT * pixels
        if not one_step.all():
            loss = loss + (predicted - wanted)[~one_step].square().mean()
        return {"loss": loss, "latents": latents, "pixels": pixels}

    def _noise(self, clean: torch.Tensor, batch: ViewBatch) -> torch.Tensor:
        """The noise that leads from `clean` latents to where sampling starts: noise alone, or the
        noised latents of the guess. Then it has the guess's errors as its mean, and DDIM's way back
        takes them away as it does the noise (a bridge as in arXiv 2303.11435, without its own
        schedule)."""
        sampling = self._from_guess
        if sampling is None:
            return batch.noise
        _, guess = (self._latent_scale * batch.condition).chunk(2, dim=1)
        num_train = self._scheduler.config.num_train_timesteps
        kept = self._scheduler.alphas_cumprod[int(sampling.strength * num_train) - 1].to(clean)
        error = (kept / (1.0 - kept)).sqrt() * (guess - clean)
        return sampling.initial_noise_scale * batch.noise + error


def _validate(generator: ViewGenerator, data_dir: Path, sheet_path: Path) -> dict[str, Any] | None:
    """Scores on the unseen objects rendered so far; none where there are none."""
    names = read_split(data_dir, "val")[:NUM_VALIDATION_OBJECTS]
    rigs = RigReader(data_dir, names, rigs_per_asset=1).read_new()
    if not rigs.asset_ids:
        return None
    with torch.autocast(generator.zero123.device.type, torch.bfloat16):
        guesses = generator.guesses(rigs)
        return validate_views(generator.zero123, guesses, rigs, sheet_path, generator.sampling)
