# SPDX-License-Identifier: GPL-3.0-or-later
"""Compares the Zero123 sampler with tensors recorded from the original code."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import torch
from diffusers import DDIMScheduler
from safetensors.torch import load_file
from torch import nn

from ..contracts.errors import CheckpointError
from ..pipeline.zero123.camera_projection import camera_condition
from ..pipeline.zero123.convert_checkpoint import load_ldm_checkpoint
from ..pipeline.zero123.image_conditioning import (
    clip_pixels,
    decode_latents,
    encode_latents,
    encode_tokens,
    images_from_rgb,
    rgb_from_images,
)
from ..pipeline.zero123.network_configs import ORIGINAL_SCHEDULER, build_networks
from ..pipeline.zero123.pipeline_zero123 import ViewCondition, Zero123Pipeline
from .parity import Difference, format_table

META_FILE = "small_meta.json"
WEIGHTS_FILE = "small_ldm_fp16.safetensors"
TENSORS_FILE = "small_io.safetensors"
GUIDANCE_SCALE = 3.0
NOISE_SEED = 20
RECORDED_TIMESTEP = 961
DTYPES = ("float32", "float16", "bfloat16")
HALF_PRECISION_STEPS = 8
"""Tolerance of what networks in half precision yield: so many roundings of the largest value."""
RUNS = ((8, 0.0), (8, 1.0), (50, 0.0), (75, 1.0))
"""Recorded sampler runs: steps asked for, eta."""


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.evaluation parity-views`."""
    parser = argparse.ArgumentParser(prog="evaluation parity-views", description=__doc__)
    parser.add_argument("--reference", type=Path, required=True, help="folder of the recordings")
    parser.add_argument("--dtype", choices=DTYPES, default="float32", help="of the networks")
    parser.add_argument(
        "--most-steps", type=int, default=75, help="leave longer runs out (float16 is slow on CPUs)"
    )
    args = parser.parse_args(argv)
    dtype = getattr(torch, args.dtype)
    print(format_table(list(compare_with_recording(args.reference, dtype, args.most_steps))))


def recorded_pipeline(reference_dir: Path, *, eta: float) -> Zero123Pipeline:
    """The small random network of the recordings, through the checkpoint conversion.

    Raises:
        CheckpointError: A file is missing or its tensors do not fit.
    """
    for name in (META_FILE, WEIGHTS_FILE, TENSORS_FILE):
        if not (reference_dir / name).is_file():
            raise CheckpointError(
                f"No {name} in {reference_dir}.", hint="Give the folder of the recordings."
            )
    config = json.loads((reference_dir / META_FILE).read_text(encoding="utf-8"))
    networks = build_networks(config)
    load_ldm_checkpoint(load_file(reference_dir / WEIGHTS_FILE), **networks)
    return Zero123Pipeline(**networks, scheduler=DDIMScheduler(**ORIGINAL_SCHEDULER), eta=eta)


@torch.no_grad()
def compare_with_recording(
    reference_dir: Path, dtype: torch.dtype = torch.float32, most_steps: int = 75
) -> Iterator[Difference]:
    """Each recorded tensor against ours, in the order of the method, on the CPU.

    Args:
        reference_dir: Holds the recordings, which are float32 but for the decoded picture.
        dtype: What the networks compute in; everything else is float32.
        most_steps: Longer runs are left out.
    """
    pipeline = recorded_pipeline(reference_dir, eta=0.0)
    for network in pipeline.components.values():
        if isinstance(network, nn.Module):
            nn.Module.to(network, dtype)
    recorded = load_file(reference_dir / TENSORS_FILE)

    def compare(name: str, ours: torch.Tensor, key: str, tolerance: float) -> Difference:
        theirs = recorded[key].double()
        return Difference(
            name=name,
            largest=(ours.double() - theirs).abs().max().item(),
            magnitude=theirs.abs().max().item(),
            tolerance=tolerance,
        )

    def rounded(name: str, ours: torch.Tensor, key: str, tolerance: float) -> Difference:
        difference = compare(name, ours, key, tolerance)
        if dtype is torch.float32:
            return difference
        steps = HALF_PRECISION_STEPS * torch.finfo(dtype).eps
        return replace(difference, tolerance=steps * difference.magnitude)

    images = images_from_rgb(recorded["input_image_u8"][None].numpy())
    deltas = recorded["deltas"].float()
    camera = camera_condition(deltas[:, 0], deltas[:, 1])
    condition = pipeline.encode_condition(images, camera, image_of_view=[0] * len(camera))
    pixels = clip_pixels(images, pipeline.image_encoder.config.image_size)
    embeds, _ = encode_tokens(pipeline.image_encoder, images)
    yield compare("input", images, "input_m1p1", 1e-6)
    yield compare("clip pixels", pixels, "clip_pixels", 1e-4)
    yield rounded("clip embedding", embeds[:, None], "clip_embed", 1e-4)
    yield rounded("condition latents", encode_latents(pipeline.vae, images), "z_cond", 1e-4)
    yield compare("camera", camera[:, None], "T", 1e-6)
    yield rounded("context", condition.context, "c_crossattn", 1e-4)
    noise = recorded["x_T"]
    predicted = pipeline.predict(
        torch.cat([noise, noise]),
        torch.tensor(RECORDED_TIMESTEP),
        condition.with_unconditional(),
    )
    yield rounded("noise prediction", predicted, "eps_t961_uncond_then_cond", 1e-4)
    for steps, eta in ((steps, eta) for steps, eta in RUNS if steps <= most_steps):
        key = f"ddim_S{steps}_eta{eta:.0f}"
        pipeline.register_to_config(eta=eta)
        num_views = len(recorded[f"{key}.latents"])
        latents = pipeline.denoise(
            noise[:num_views],
            _first_views(condition, num_views),
            generator=torch.Generator().manual_seed(NOISE_SEED),
            num_inference_steps=steps,
            guidance_scale=GUIDANCE_SCALE,
        )
        timesteps = pipeline.scheduler.timesteps
        yield compare(f"{key} timesteps", timesteps, f"{key}.timesteps", 0.0)
        yield rounded(f"{key} latents", latents, f"{key}.latents", 1e-3)
    decoded = decode_latents(pipeline.vae, recorded["ddim_S8_eta1.latents"])
    recorded["decoded, of 1"] = unit_pixels(recorded["decoded_S8_eta1"])
    yield rounded("decoded, of 1", unit_pixels(decoded), "decoded, of 1", 1e-3)
    rgb = torch.from_numpy(rgb_from_images(decoded))
    yield rounded("decoded, 8 bit", rgb, "decoded_u8_S8_eta1", 1.0)


def unit_pixels(images: torch.Tensor) -> torch.Tensor:
    """What of decoded images `(B, 3, H, W)` a picture shows: clamped to [0, 1]."""
    return ((images.float() + 1.0) / 2.0).clamp(0.0, 1.0)


def _first_views(condition: ViewCondition, count: int) -> ViewCondition:
    return ViewCondition(
        latents=condition.latents[:count], context=condition.context[:count], class_labels=None
    )
