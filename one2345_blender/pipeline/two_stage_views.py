# SPDX-License-Identifier: GPL-3.0-or-later
"""Stage 1 and stage 2 of the view synthesis: four views around, and four near views of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from ..contracts.progress import OnEvent, StepDone, ViewReady, ignore_events
from .lifting.guessed_object import GuessedObject
from .view_schedule import INPUT_OFFSET, NEAR_OFFSETS, PoseOffset
from .zero123.image_conditioning import whiten_background
from .zero123.pipeline_zero123 import Zero123Pipeline
from .zero123.view_batches import BatchLimit, views_in_batches

RgbArray = NDArray[np.uint8]
OnStep = Callable[[int, int], None]


@dataclass(frozen=True, kw_only=True)
class TwoStageViews:
    """The view generator, a photo, and the settings that all calls of a conversion share."""

    zero123: Zero123Pipeline
    rgb: RgbArray
    """`(S, S, 3)` uint8, the photo's object on white."""
    guessed: GuessedObject | None
    """What the preset's lifter, if it has one, makes of the photo."""
    seed: int
    sampler: str
    steps_stage1: int
    steps_stage2: int
    guidance_scale: float
    resynthesises_input: bool
    """Whether view 0 is Zero123's, as in the original, or the input itself."""
    on_event: OnEvent = ignore_events
    batch_limit: BatchLimit = field(default_factory=BatchLimit)

    def views_with_near_views(
        self, offsets: tuple[PoseOffset, ...], *, first_view: int, stage: str
    ) -> tuple[RgbArray, RgbArray]:
        """Four views from the photo, then four near views from each of these.

        Args:
            offsets: Of the four views.
            first_view: Index of the first of them among the 8, which fixes names and noise.
            stage: Its name in `STAGES`.
        """
        steps_done = 0
        steps = self.steps_stage1 + self.steps_stage2

        def on_step(step: int, _: int) -> None:
            self.on_event(StepDone(stage, min(steps_done + step, steps), steps))

        names = [str(first_view + i) for i in range(len(offsets))]
        kept = 1 if offsets[0] == INPUT_OFFSET and not self.resynthesises_input else 0
        views = self._synthesise(
            self.rgb[None],
            (INPUT_OFFSET,),
            offsets[kept:],
            names[kept:],
            self.steps_stage1,
            on_step,
        )
        if kept:
            self.on_event(ViewReady(names[0], self.rgb))
            views = np.concatenate([self.rgb[None], views])
        steps_done = self.steps_stage1
        near_names = [f"{name}_{i}" for name in names for i in range(len(NEAR_OFFSETS))]
        near_views = self._synthesise(
            whiten_background(views), offsets, NEAR_OFFSETS, near_names, self.steps_stage2, on_step
        )
        return views, near_views

    def _synthesise(
        self,
        rgb: RgbArray,
        seen_from: tuple[PoseOffset, ...],
        offsets: tuple[PoseOffset, ...],
        names: list[str],
        num_inference_steps: int,
        on_step: OnStep,
    ) -> RgbArray:
        """The views at `offsets` from each of the pictures `rgb` `(I, S, S, 3)`.

        Args:
            rgb: Seen from the cameras `seen_from`, relative to the photo's.
        """
        repeated = offsets * len(rgb)
        from_photo = [seen + offset for seen in seen_from for offset in offsets]
        views = views_in_batches(
            self.zero123,
            rgb,
            [o.d_polar_deg for o in repeated],
            [o.d_azimuth_deg for o in repeated],
            guess_rgb=None if self.guessed is None else self.guessed.views(from_photo),
            generators=[view_generator(self.seed, name) for name in names],
            num_inference_steps=num_inference_steps,
            guidance_scale=self.guidance_scale,
            sampler=self.sampler,
            limit=self.batch_limit,
            on_step=on_step,
            on_event=self.on_event,
        )
        for name, view in zip(names, views, strict=True):
            self.on_event(ViewReady(name, view))
        return views


def view_generator(seed: int, name: str) -> torch.Generator:
    """The random numbers of one view: they depend on the seed and the view's name alone."""
    entropy = np.random.SeedSequence([seed, *name.encode()]).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(entropy[0] >> np.uint64(1)))
