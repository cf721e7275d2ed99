# SPDX-License-Identifier: GPL-3.0-or-later
"""How often a conversion evaluates the published UNet, and what an evaluation costs.

Evaluations are counted while the whole view synthesis runs with the published preset's settings,
on small untrained networks: one is the UNet on one view's latents. The operations of one are
counted by PyTorch on the published sizes, without weights. With reused features every second one is
of the UNet's outermost level alone. `--time` also evaluates that UNet, with random weights, on this
CPU (4 GB of memory).

    python -m benchmarks.view_evaluations --time
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from diffusers import DDIMScheduler, UNet2DConditionModel
from torch.profiler import ProfilerActivity, profile
from torch.utils.flop_counter import FlopCounterMode

from one2345_blender.contracts.job import FAST_SAMPLER, REFERENCE_SAMPLER
from one2345_blender.pipeline.foreground import ForegroundImage
from one2345_blender.pipeline.pipeline_one2345 import One2345Pipeline
from one2345_blender.pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from one2345_blender.pipeline.segmenter import ForegroundSegmenter
from one2345_blender.pipeline.zero123.feature_reuse import FeatureReuse
from one2345_blender.pipeline.zero123.folded_attention import fold_one_token_attention
from one2345_blender.pipeline.zero123.network_configs import (
    ORIGINAL_NETWORKS,
    ORIGINAL_SCHEDULER,
    build_networks,
)

VIEW_SIZE_PX = 16
SMALL_NETWORKS = {
    "unet": {
        "sample_size": VIEW_SIZE_PX // 2,
        "in_channels": 8,
        "out_channels": 4,
        "block_out_channels": (8, 16),
        "layers_per_block": 1,
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "cross_attention_dim": 16,
        "attention_head_dim": 2,
        "norm_num_groups": 4,
    },
    "vae": {
        "down_block_types": ("DownEncoderBlock2D",) * 2,
        "up_block_types": ("UpDecoderBlock2D",) * 2,
        "block_out_channels": (8, 16),
        "norm_num_groups": 4,
        "sample_size": VIEW_SIZE_PX,
    },
    "clip": {"width": 16, "layers": 1, "heads": 2, "patch": 8, "res": VIEW_SIZE_PX, "out": 16},
}
ELEVATION_DEG = 20.0
NUM_TIMED = 2
KERNELS = (
    "aten::mkldnn_convolution",
    "aten::addmm",
    "aten::_scaled_dot_product_flash_attention_for_cpu",
)
"""Convolutions, matrix products, attention."""


@dataclass
class Evaluations:
    """Views that the UNet saw, guidance's own included."""

    whole: int = 0
    outermost: int = 0
    """By the outermost level alone, see `FeatureReuse`."""

    def operations(self, whole: float, outermost: float) -> float:
        """What they took, if one of each takes so much."""
        return self.whole * whole + self.outermost * outermost


def main(argv: list[str]) -> None:
    """Print a table of evaluations and operations, and with `--time` one of seconds."""
    parser = argparse.ArgumentParser(prog="benchmarks.view_evaluations", description=__doc__)
    parser.add_argument("--time", action="store_true", help="evaluate the UNet on this CPU")
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    torch.set_num_threads(args.threads)
    unfolded = flop_per_evaluation(is_folded=False)
    folded = flop_per_evaluation(is_folded=True)
    outermost = flop_of_outermost_level()
    print(
        f"one evaluation: {unfolded / 1e9:.1f} GFLOP, folded attention {folded / 1e9:.1f} GFLOP, "
        f"its outermost level {outermost / 1e9:.1f} GFLOP\n"
    )
    pipeline = small_pipeline()
    reference = count_evaluations(pipeline, REFERENCE_SAMPLER)
    fast = count_evaluations(pipeline, FAST_SAMPLER)
    pipeline.register_to_config(fast_reuses_features=True)
    reusing = count_evaluations(pipeline, FAST_SAMPLER)
    print("| sampler | evaluations | outermost level alone | TFLOP | share of the original's |")
    print("|---|---|---|---|---|")
    original = reference.operations(unfolded, 0.0)
    for name, counted, flop in (
        ("the original's", reference, unfolded),
        (REFERENCE_SAMPLER, reference, folded),
        (FAST_SAMPLER, fast, folded),
        (f"{FAST_SAMPLER}, features reused", reusing, folded),
    ):
        total = counted.operations(flop, outermost)
        print(
            f"| {name} | {counted.whole} | {counted.outermost} | {total / 1e12:.1f} "
            f"| {total / original:.3f} |"
        )
    if args.time:
        print("\n| UNet on this CPU | CPU s per evaluation | ratio |\n|---|---|---|")
        seconds = time_evaluations()
        for name, value in seconds.items():
            print(f"| {name} | {value:.2f} | {value / next(iter(seconds.values())):.3f} |")
        print(f"\nof it in the libraries' kernels: {kernel_share():.1%}")


def small_pipeline() -> One2345Pipeline:
    """The published preset's settings on `SMALL_NETWORKS`, untrained."""
    return One2345Pipeline(
        **build_networks(SMALL_NETWORKS),
        scheduler=DDIMScheduler(**ORIGINAL_SCHEDULER),
        reconstruction=SparseNeuSReconstructor(image_size_px=VIEW_SIZE_PX),
        segmenter=ForegroundSegmenter(block_out_channels=(4, 8, 8), sample_size=2 * VIEW_SIZE_PX),
    )


@torch.no_grad()
def count_evaluations(pipeline: One2345Pipeline, sampler: str) -> Evaluations:
    """Those of one conversion."""
    white = np.full((VIEW_SIZE_PX, VIEW_SIZE_PX, 3), 255, np.uint8)
    photo = ForegroundImage(
        rgb=white,
        detail_rgb=white,
        mask=np.ones((VIEW_SIZE_PX, VIEW_SIZE_PX), bool),
        crop_box_px=(0.0, 0.0, float(VIEW_SIZE_PX)),
        source_size=(VIEW_SIZE_PX, VIEW_SIZE_PX),
    )
    with evaluations_counted(pipeline.unet) as counted:
        pipeline.synthesise(pipeline.two_stages(photo, seed=0, sampler=sampler), ELEVATION_DEG)
    return counted


@contextmanager
def evaluations_counted(unet: UNet2DConditionModel) -> Iterator[Evaluations]:
    """Those of a UNet in a `with` block."""
    counted = Evaluations()

    def count_outermost(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        counted.outermost += len(inputs[0])

    def count_whole(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        counted.whole += len(inputs[0])
        counted.outermost -= len(inputs[0])

    with (
        unet.conv_in.register_forward_pre_hook(count_outermost),
        unet.mid_block.register_forward_pre_hook(count_whole),
    ):
        yield counted


def flop_per_evaluation(*, is_folded: bool) -> int:
    """Floating-point operations (two for a multiplication with addition) of the published UNet."""
    with torch.device("meta"):
        unet = published_unet()
        inputs = published_inputs(unet, "meta")
    if is_folded:
        fold_one_token_attention(unet)
    return _flop(lambda: unet(*inputs))


def flop_of_outermost_level() -> int:
    """What an evaluation with reused features takes of them, attention folded."""
    with torch.device("meta"):
        unet = published_unet()
        inputs = published_inputs(unet, "meta")
    fold_one_token_attention(unet)
    reusing = FeatureReuse(unet)
    with torch.no_grad():
        reusing(*inputs)
    return _flop(lambda: reusing(*inputs))


@torch.no_grad()
def _flop(evaluate: Callable[[], object]) -> int:
    with FlopCounterMode(display=False) as counter:
        evaluate()
    return counter.get_total_flops()


def time_evaluations() -> dict[str, float]:
    """CPU seconds of one evaluation of the published UNet, as it is and made faster."""
    unet = published_unet()
    inputs = published_inputs(unet, "cpu")
    seconds = {"as published, float32": _timed(lambda: unet(*inputs))}
    fold_one_token_attention(unet)
    seconds["folded attention"] = _timed(lambda: unet(*inputs))
    reusing = FeatureReuse(unet)
    pair = _timed(lambda: (reusing(*inputs), reusing(*inputs)))
    seconds["folded attention, features reused"] = pair / 2
    unet.to(memory_format=torch.channels_last)
    seconds["folded attention, channels last"] = _timed(lambda: unet(*inputs))
    torch.nn.Module.to(unet, memory_format=torch.contiguous_format, dtype=torch.bfloat16)
    half = [x if x.dtype == torch.int64 else x.to(torch.bfloat16) for x in inputs]
    seconds["folded attention, bfloat16"] = _timed(lambda: unet(*half))
    return seconds


def kernel_share() -> float:
    """The share of an evaluation's time that `torch.compile` would leave to the same libraries."""
    unet = published_unet()
    fold_one_token_attention(unet)
    inputs = published_inputs(unet, "cpu")
    with torch.no_grad():
        unet(*inputs)
        with profile(activities=[ProfilerActivity.CPU]) as profiler:
            unet(*inputs)
    times = {event.key: event.self_cpu_time_total for event in profiler.key_averages()}
    return sum(times.get(name, 0.0) for name in KERNELS) / sum(times.values())


def published_unet() -> UNet2DConditionModel:
    return UNet2DConditionModel(**ORIGINAL_NETWORKS["unet"]).eval()


def published_inputs(unet: UNet2DConditionModel, device: str) -> tuple[torch.Tensor, ...]:
    config = unet.config
    size = config.sample_size
    return (
        torch.randn(1, config.in_channels, size, size, device=device),
        torch.tensor([500], device=device),
        torch.randn(1, 1, config.cross_attention_dim, device=device),
    )


@torch.no_grad()
def _timed(evaluate: Callable[[], object]) -> float:
    """CPU seconds, the least of some runs after a first one."""
    evaluate()
    seconds = []
    for _ in range(NUM_TIMED):
        began = time.process_time()
        evaluate()
        seconds.append(time.process_time() - began)
    return min(seconds)


if __name__ == "__main__":
    main(sys.argv[1:])
