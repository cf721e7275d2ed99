# SPDX-License-Identifier: GPL-3.0-or-later
"""Every stage of the method once, on a drawn picture with the embedded preset: does it run here?"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import diffusers
import numpy as np
import transformers
from numpy.typing import NDArray
from PIL import Image

from ..contracts.errors import One2345Error
from ..contracts.job import JobSpec
from ..contracts.progress import STAGES, PipelineEvent, StageStarted
from ..pipeline.convert import convert_image
from ..pipeline.model_cache import ModelCache
from .finding import ERROR, OK, Finding

PICTURE_SIZE_PX = 96
STEPS, GRID_RESOLUTION = 1, 24


def try_each_stage() -> Iterator[Finding]:
    """A finding for each stage, up to the one that fails."""
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    began: list[tuple[str, float]] = []

    def on_event(event: PipelineEvent) -> None:
        if isinstance(event, StageStarted):
            began.append((event.stage, time.perf_counter()))

    failure: Exception | None = None
    with tempfile.TemporaryDirectory(prefix="one2345-") as folder:
        picture = Path(folder) / "ball.png"
        Image.fromarray(shaded_ball(PICTURE_SIZE_PX)).save(picture)
        spec = JobSpec(
            job_id="trial",
            image_path=picture,
            output_dir=Path(folder) / "result",
            elevation_deg=20.0,
            num_inference_steps_stage1=STEPS,
            num_inference_steps_stage2=STEPS,
            grid_resolution=GRID_RESOLUTION,
        )
        try:
            convert_image(spec, models=ModelCache(), on_event=on_event)
        except Exception as error:  # whatever it is, it is what the doctor was asked for
            failure = error
    now = time.perf_counter()
    ends = [start for _, start in began[1:]] + [now] * bool(began)
    for (stage, start), end in zip(began, ends, strict=True):
        if failure is not None and stage == began[-1][0]:
            yield _failed(stage, failure)
        else:
            yield Finding(name=f"stage {stage}", status=OK, found=f"{end - start:.2f} s")
    if failure is not None and not began:
        yield _failed(STAGES[0], failure)


def shaded_ball(size_px: int) -> NDArray[np.uint8]:
    """`(size_px, size_px, 4)` uint8: a ball lit from the upper left, on nothing."""
    axis = np.linspace(-1.25, 1.25, size_px)
    x, y = np.meshgrid(axis, axis)
    inside = x**2 + y**2 < 1
    light = np.clip(0.6 - 0.4 * x - 0.4 * y, 0.2, 1.0)
    rgba = np.stack([230 * light, 120 * light, 60 * light, np.full_like(x, 255)], axis=-1)
    ball: NDArray[np.uint8] = (rgba * inside[..., None]).astype(np.uint8)
    return ball


def _failed(stage: str, error: Exception) -> Finding:
    if isinstance(error, One2345Error):
        return Finding(name=f"stage {stage}", status=ERROR, found=error.message, hint=error.hint)
    hint = "Please report it with what `doctor --json` prints."
    found = f"unexpected {type(error).__name__}: {error}"
    return Finding(name=f"stage {stage}", status=ERROR, found=found, hint=hint)
