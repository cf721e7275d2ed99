# SPDX-License-Identifier: GPL-3.0-or-later
"""Memory of the published networks at work, by stage, at full size with meaningless weights.

What a device would hold is measured on a CPU under Linux: the same networks, batches and half
precision (bfloat16 in place of float16, of the same size). A device's own libraries and the
workspaces of its convolutions come on top. One guided step stands for all: they take the same, or
with reused features two.

    python -m benchmarks.view_memory
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import torch
from diffusers import DDIMScheduler
from torch import nn

from benchmarks.stopwatch import forget_peak_memory
from one2345_blender.pipeline.process_memory import peak_memory_bytes, status_bytes
from one2345_blender.pipeline.view_schedule import NUM_LEVEL_VIEWS, NUM_NEAR_VIEWS
from one2345_blender.pipeline.zero123.feature_reuse import FeatureReuse
from one2345_blender.pipeline.zero123.image_conditioning import (
    decode_latents,
    encode_latents,
    encode_tokens,
)
from one2345_blender.pipeline.zero123.network_configs import (
    ORIGINAL_NETWORKS,
    ORIGINAL_SCHEDULER,
    build_networks,
)
from one2345_blender.pipeline.zero123.offloading import ORDER
from one2345_blender.pipeline.zero123.pipeline_zero123 import PICTURES_AT_ONCE, Zero123Pipeline

VIEW_SIZE_PX = 256
NUM_VIEWS = NUM_LEVEL_VIEWS * NUM_NEAR_VIEWS


def main() -> None:
    """Print a table of weights and activations by stage, and the sums."""
    pipeline = Zero123Pipeline(
        **half_precision_networks(), scheduler=DDIMScheduler(**ORIGINAL_SCHEDULER)
    )
    weights = {
        name: sum(tensor.nbytes for tensor in getattr(pipeline, name).parameters()) / 1e9
        for name in ORDER
    }
    print("weights, GB: " + ", ".join(f"{name} {size:.2f}" for name, size in weights.items()))
    images = torch.zeros(NUM_LEVEL_VIEWS, 3, VIEW_SIZE_PX, VIEW_SIZE_PX)
    camera = torch.zeros(NUM_VIEWS, 4)
    image_of_view = [view // NUM_NEAR_VIEWS for view in range(NUM_VIEWS)]
    condition = pipeline.encode_condition(images, camera, image_of_view=image_of_view)
    doubled = condition.with_unconditional()
    noise = torch.randn(doubled.latents.shape)

    def step(unet: FeatureReuse | None = None) -> None:
        pipeline.predict(noise, torch.tensor(500), doubled, unet)

    def reusing_steps() -> None:
        reusing = FeatureReuse(pipeline.unet)
        step(reusing)
        step(reusing)

    stages: dict[str, tuple[tuple[str, ...], Callable[[], object]]] = {
        f"latents of {NUM_LEVEL_VIEWS} pictures": (
            ("vae",),
            lambda: encode_latents(pipeline.vae, images),
        ),
        f"embeddings of {NUM_LEVEL_VIEWS} pictures": (
            ("image_encoder",),
            lambda: encode_tokens(pipeline.image_encoder, images),
        ),
        f"guided step of {NUM_VIEWS} views": (("unet",), step),
        f"two guided steps of {NUM_VIEWS} views, features reused": (("unet",), reusing_steps),
        f"decoding {PICTURES_AT_ONCE} views": (
            ("vae",),
            lambda: decode_latents(pipeline.vae, noise[:PICTURES_AT_ONCE]),
        ),
    }
    total = sum(weights.values())
    print("\n| stage | activations, GB | all networks there, GB | in turn, GB |\n|---|---|---|---|")
    for stage, (names, work) in stages.items():
        activations = peak_growth_gb(work)
        in_turn = activations + sum(weights[name] for name in names)
        print(f"| {stage} | {activations:.2f} | {activations + total:.2f} | {in_turn:.2f} |")


def half_precision_networks() -> dict[str, nn.Module]:
    """The published sizes, every weight the same small number."""
    with torch.device("meta"):
        networks: dict[str, nn.Module] = build_networks(ORIGINAL_NETWORKS)
    for network in networks.values():
        nn.Module.to(network, torch.bfloat16)
        network.to_empty(device="cpu")
        for parameter in network.parameters():
            nn.init.constant_(parameter, 1e-3)
    for _, positions in networks["image_encoder"].named_buffers():
        positions.copy_(torch.arange(positions.numel()).view_as(positions))
    return networks


@torch.no_grad()
def peak_growth_gb(work: Callable[[], object]) -> float:
    """By how much the process's resident memory grows at most while `work` runs.

    What an earlier stage freed is given back first: glibc would keep it, and `work` would take it.
    """
    ctypes.CDLL(None).malloc_trim(0)
    forget_peak_memory()
    before = status_bytes("VmRSS")
    work()
    return (peak_memory_bytes() - before) / 1e9


if __name__ == "__main__":
    with torch.no_grad():
        main()
