# SPDX-License-Identifier: GPL-3.0-or-later
"""One whole conversion at the published sizes on a CPU: CPU seconds and memory by stage.

Nobody needs the published weights for it: networks of their sizes and number format are filled
with random weights, written in the layout in which others publish them, imported as a preset, and
that preset converts a photo as `convert --preset DIR` does. The mesh means nothing. What it takes
depends on sizes alone, but for the number of denoising steps, which is small here, and for the
number of vertices, which is printed. Each part runs in a process of its own, under Linux.

    python -m benchmarks.full_size
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

import torch
from torch import nn

from benchmarks.stopwatch import StageCost, Stopwatch
from one2345_blender.contracts.job import JobSpec
from one2345_blender.contracts.progress import PipelineEvent, StageStarted, WarningRaised
from one2345_blender.pipeline.convert import convert_image
from one2345_blender.pipeline.import_checkpoint import import_checkpoint
from one2345_blender.pipeline.model_cache import ModelCache
from one2345_blender.pipeline.zero123.network_configs import ORIGINAL_NETWORKS, build_networks

ROOT = Path(__file__).parents[1]
PHOTO = ROOT / "docs" / "demo" / "coffee.jpg"
RECONSTRUCTION_PTH = ROOT / "tests" / "golden" / "original_reconstruction_seed0.pth"
STEPS = 2
"""Of both stages; memory does not grow with them."""
MEMORY_LIMIT_GB = 16.0


def main(argv: list[str]) -> None:
    """Make the preset, convert the photo, print a table."""
    parser = argparse.ArgumentParser(prog="benchmarks.full_size", description=__doc__)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--memory-limit-gb", type=float, default=MEMORY_LIMIT_GB)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args(argv)
    with (
        tempfile.TemporaryDirectory() as name,
        ProcessPoolExecutor(1, get_context("spawn"), max_tasks_per_child=1) as processes,
    ):
        folder = Path(name)
        published, preset = folder / "published", folder / "preset"
        processes.submit(write_published_folder, published).result()
        costs = {}
        for part, source in (("Zero123", published), ("reconstruction", RECONSTRUCTION_PTH)):
            costs[f"import of {part}"] = processes.submit(timed_import, source, preset).result()
        spec = JobSpec(
            job_id="full_size",
            image_path=PHOTO,
            output_dir=folder / "converted",
            preset=str(preset),
            device="cpu",
            num_inference_steps_stage1=args.steps,
            num_inference_steps_stage2=args.steps,
            memory_limit_gb=args.memory_limit_gb,
        )
        stages, summary = processes.submit(timed_conversion, spec, args.threads).result()
    print(f"\n{summary}\n\n| stage | CPU s | peak of resident memory, GB |\n|---|---|---|")
    for stage, cost in (costs | stages).items():
        print(f"| {stage} | {cost.cpu_s:.1f} | {cost.peak_bytes / 1e9:.2f} |")
    peak = max(cost.peak_bytes for cost in stages.values())
    cpu_s = sum(cost.cpu_s for cost in stages.values())
    print(f"| **conversion** | {cpu_s:.1f} | {peak / 1e9:.2f} |")


def write_published_folder(folder: Path) -> None:
    """Random networks of the published sizes in half precision, each in a folder of its own."""
    torch.manual_seed(0)
    for name, network in build_networks(ORIGINAL_NETWORKS).items():
        nn.Module.to(network, torch.float16)
        network.save_pretrained(folder / name)


def timed_import(source: Path, preset: Path) -> StageCost:
    """What `import-checkpoint SOURCE --output PRESET` takes, its start included."""
    stopwatch = Stopwatch()
    import_checkpoint(source, preset)
    stopwatch.begin("end")
    return stopwatch.stages["start"]


def timed_conversion(spec: JobSpec, num_threads: int) -> tuple[dict[str, StageCost], str]:
    """What each stage of a conversion takes, and what came out in one line."""
    torch.set_num_threads(num_threads)
    stopwatch = Stopwatch()

    def on_event(event: PipelineEvent) -> None:
        stopwatch.on_event(event)
        if isinstance(event, StageStarted | WarningRaised):
            print(event, file=sys.stderr, flush=True)

    report = convert_image(spec, models=ModelCache(), on_event=on_event).report
    stopwatch.begin("end")
    return stopwatch.stages, (
        f"{spec.num_inference_steps_stage1} steps of the {report['sampler']} sampler in each "
        f"stage, {report['dtype']}, {report['num_vertices']} vertices"
    )


if __name__ == "__main__":
    main(sys.argv[1:])
