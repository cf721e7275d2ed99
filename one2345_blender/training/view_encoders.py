# SPDX-License-Identifier: GPL-3.0-or-later
"""From rendered rigs to what the training of views works on: latents, and first guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from diffusers import AutoencoderKL

from ..pipeline.lifting.photo_elevation import PhotoElevation
from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.zero123.image_conditioning import encode_latents, images_from_rgb
from .training_loop import accelerator
from .validate_lifter import guessed_views
from .view_data import RigViews, join_rigs, one_near_view_each


@dataclass(frozen=True, kw_only=True)
class LatentRigs:
    """Rigs with all their views encoded once."""

    rigs: RigViews
    latents: torch.Tensor
    """`(R, V, C, h, w)` float16, not scaled."""
    guesses: torch.Tensor | None
    """Like `latents`: what the lifter shows of the photo's object there, where there is one."""


@dataclass(frozen=True, kw_only=True)
class ViewEncoders:
    """The trained networks that turn rigs into what a Zero123 learns from; they stay as they are.

    Lifter and elevation are there for a Zero123 that takes a first guess of each view.
    """

    vae: AutoencoderKL
    lifter: PhotoLifter | None
    elevation: PhotoElevation | None
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

    def __post_init__(self) -> None:
        """Everything computes on the device of this process."""
        for network in (self.vae, self.lifter, self.elevation):
            if network is not None:
                network.to(accelerator().device)

    def guess(
        self, rigs: RigViews, rig: int, *, knows_elevation: bool = False
    ) -> np.ndarray | None:
        """See `guessed_views`; None without a lifter."""
        if self.lifter is None or self.elevation is None:
            return None
        return guessed_views(
            self.lifter, self.elevation, rigs, rig, knows_elevation=knows_elevation
        )

    def guesses(self, rigs: RigViews, *, knows_elevation: bool = False) -> np.ndarray | None:
        """Those of all rigs, `(R, V, H, W, 3)` uint8; None without a lifter."""
        each = [
            self.guess(rigs, rig, knows_elevation=knows_elevation) for rig in range(len(rigs.rgb))
        ]
        found = [guess for guess in each if guess is not None]
        return np.stack(found) if found else None

    @torch.no_grad()
    def encode(self, rigs: RigViews) -> LatentRigs:
        """One near view of each stage-1 view is kept: fewer latents of more objects."""
        rigs = one_near_view_each(rigs, self.seed)
        latents, guesses = [], []
        with torch.autocast(self.vae.device.type, torch.bfloat16):
            for rig, rgb in enumerate(rigs.rgb):
                latents.append(self._latents(rgb))
                guess = self.guess(rigs, rig)
                if guess is not None:
                    guesses.append(self._latents(guess))
        return LatentRigs(
            rigs=rigs,
            latents=torch.stack(latents),
            guesses=torch.stack(guesses) if guesses else None,
        )

    def _latents(self, rgb: np.ndarray) -> torch.Tensor:
        return encode_latents(self.vae, images_from_rgb(rgb).to(self.vae.device)).half().cpu()


def join_latents(parts: Sequence[LatentRigs]) -> LatentRigs:
    """All rigs of all parts."""
    guesses = [part.guesses for part in parts if part.guesses is not None]
    return LatentRigs(
        rigs=join_rigs([part.rigs for part in parts]),
        latents=torch.cat([part.latents for part in parts]),
        guesses=torch.cat(guesses) if guesses else None,
    )
