# SPDX-License-Identifier: GPL-3.0-or-later
"""What the fast sampler loses against the reference sampler, in views and in meshes.

Both start from the same noise, the reference with many steps and without noise of its own (eta 0),
which is the path that the fast one approximates. The original's eta 1 is one more row: it draws
other views, so that only its distance to the renders says something. The true elevation is given.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from ..contracts.errors import EmptySurfaceError, OptionError
from ..contracts.job import FAST_SAMPLER, REFERENCE_SAMPLER
from ..contracts.progress import ignore_events
from ..pipeline.foreground import ForegroundImage
from ..pipeline.model_cache import ModelCache
from ..pipeline.photo_evidence import PhotoEvidence
from ..pipeline.pipeline_one2345 import One2345Pipeline
from ..training.assets_command import MANIFEST_PATH, PACKAGES_DIR
from ..training.picture_scores import psnr_db
from .lpips_distance import LpipsDistance
from .surface_scores import score_surface
from .test_sets import rendered_objects
from .truth import TrueObject

REUSE = ",reuse"


@dataclass(frozen=True, kw_only=True)
class Setting:
    """A sampler and how often it evaluates the network."""

    sampler: str
    steps: tuple[int, int]
    """Of the 8 views and of the near views."""
    guided_share: float = 1.0
    reuses_features: bool = False
    eta: float = 0.0
    """The reference sampler's noise in each step; the original's is 1."""

    def __str__(self) -> str:
        noise = f", eta {self.eta:g}" if self.eta else ""
        share = f", {self.guided_share:.0%} guided" if self.guided_share < 1.0 else ""
        reuse = ", features reused" if self.reuses_features else ""
        return f"{self.sampler}, {self.steps[0]} and {self.steps[1]} steps{noise}{share}{reuse}"


@dataclass(frozen=True, kw_only=True)
class Sampled:
    """What one setting makes of one object."""

    rgb: NDArray[np.uint8]
    """`(40, S, S, 3)` the method's views."""
    f_05: float
    """Of the mesh, see `SurfaceScores`; 0 without a surface."""
    cpu_s: float
    """Of the views alone."""


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.evaluation samplers`: a Markdown table."""
    parser = argparse.ArgumentParser(prog="evaluation samplers", description=__doc__)
    parser.add_argument("--preset", default="embedded", help="name or folder")
    parser.add_argument("--data", type=Path, default=Path("out/training"), help="rendered data")
    parser.add_argument("--part", default="val", help="of the split")
    parser.add_argument("--objects", type=int, default=4, help="at most so many")
    parser.add_argument("--packages", type=Path, default=PACKAGES_DIR, help="the models")
    parser.add_argument("--manifest", type=Path, default=MANIFEST_PATH)
    parser.add_argument("--reference-steps", type=int, default=50)
    parser.add_argument(
        "--noisy-reference",
        metavar="S1,S2",
        help="one more row: the reference sampler with the original's noise, eta 1",
    )
    parser.add_argument("--initial-noise-scale", type=float, default=1.0)
    parser.add_argument(
        "--fast",
        nargs="+",
        default=None,
        metavar="S1,S2,SHARE",
        help=f"steps of both stages and guided share of them; with {REUSE} behind it every second "
        "step reuses features (default: the preset's)",
    )
    args = parser.parse_args(argv)
    pipeline = ModelCache().get(args.preset, "cpu")
    pipeline.register_to_config(initial_noise_scale=args.initial_noise_scale, strength=1.0)
    settings = [
        Setting(sampler=REFERENCE_SAMPLER, steps=(args.reference_steps,) * 2),
        *([noisy_setting(args.noisy_reference)] if args.noisy_reference else []),
        *(fast_settings(args.fast) if args.fast else [preset_setting(pipeline)]),
    ]
    objects = rendered_objects(
        args.data,
        args.part,
        args.objects,
        packages_dir=args.packages,
        manifest=args.manifest,
        size_px=pipeline.view_size_px,
    )
    print("\n".join(compare_samplers(pipeline, objects, settings)))


def preset_setting(pipeline: One2345Pipeline) -> Setting:
    """The fast sampler as the preset's config has it."""
    return Setting(
        sampler=FAST_SAMPLER,
        steps=pipeline.default_steps(FAST_SAMPLER),
        guided_share=pipeline.config.fast_guided_share,
        reuses_features=pipeline.config.fast_reuses_features,
    )


def noisy_setting(text: str) -> Setting:
    """The reference sampler with eta 1 from steps like `75,50`.

    Raises:
        OptionError: The text does not have that form.
    """
    try:
        steps_stage1, steps_stage2 = map(int, text.split(","))
    except ValueError as error:
        raise OptionError(
            f"noisy-reference: expected steps of both stages like 75,50, got {text!r}."
        ) from error
    return Setting(sampler=REFERENCE_SAMPLER, steps=(steps_stage1, steps_stage2), eta=1.0)


def fast_settings(texts: Iterable[str]) -> list[Setting]:
    """Settings of the fast sampler from texts like `16,12,0.6` and `16,12,0.6,reuse`.

    Raises:
        OptionError: A text does not have that form.
    """
    settings = []
    for text in texts:
        try:
            numbers = text.removesuffix(REUSE)
            steps_stage1, steps_stage2, share = numbers.split(",")
            settings.append(
                Setting(
                    sampler=FAST_SAMPLER,
                    steps=(int(steps_stage1), int(steps_stage2)),
                    guided_share=float(share),
                    reuses_features=numbers != text,
                )
            )
        except ValueError as error:
            raise OptionError(
                "fast: expected steps, steps and a share like 16,12,0.6 or "
                f"16,12,0.6{REUSE}, got {text!r}."
            ) from error
    return settings


def compare_samplers(
    pipeline: One2345Pipeline, objects: Iterable[TrueObject], settings: list[Setting]
) -> list[str]:
    """Lines of a Markdown table; the first setting is the reference.

    Means over the objects, each with its standard error. How far a row lies behind the reference is
    taken object by object, so that what objects differ by among each other does not blur it. LPIPS
    is NaN without the package that carries its weights.
    """
    lpips = LpipsDistance.installed()
    rows: list[list[list[float]]] = []
    for truth in objects:
        sampled = [sample(pipeline, truth, setting) for setting in settings]
        truth_db = [float(psnr_db(truth.rgb[1:], one.rgb[1:]).mean()) for one in sampled]
        rows.append(
            [
                [
                    db,
                    db - truth_db[0],
                    lpips(truth.rgb[1:], one.rgb[1:]) if lpips else np.nan,
                    float(psnr_db(sampled[0].rgb[1:], one.rgb[1:]).mean()),
                    one.f_05,
                    one.f_05 - sampled[0].f_05,
                    one.cpu_s,
                ]
                for db, one in zip(truth_db, sampled, strict=True)
            ]
        )
        print(f"{truth.asset_id}: {np.round(rows[-1], 3).tolist()}", flush=True)
    lines = [
        f"means of {len(rows)} objects ± standard errors",
        "",
        "| sampler | PSNR to the renders, dB | minus the reference's | LPIPS to the renders "
        "| to the reference's views, dB | F@.05 | minus the reference's | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    means, errors = np.mean(rows, axis=0), standard_errors(np.array(rows))
    for setting, mean, error in zip(settings, means, errors, strict=True):
        cells = (
            f"{value:.{digits}f} ± {spread:.{digits}f}"
            for value, spread, digits in zip(mean, error, (2, 2, 3, 2, 3, 3, 1), strict=True)
        )
        lines.append(f"| {setting} | {' | '.join(cells)} |")
    return lines


def standard_errors(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Of the means over the first axis, the objects; NaN for a single one, which has no spread."""
    if len(rows) < 2:
        return np.full(rows.shape[1:], np.nan)
    return np.asarray(rows.std(axis=0, ddof=1) / np.sqrt(len(rows)))


@torch.no_grad()
def sample(pipeline: One2345Pipeline, truth: TrueObject, setting: Setting) -> Sampled:
    """The views and the mesh of an object's input view, its true elevation given."""
    pipeline.register_to_config(
        eta=setting.eta,
        fast_guided_share=setting.guided_share,
        fast_reuses_features=setting.reuses_features,
    )
    height_px, width_px = truth.mask.shape
    photo = ForegroundImage(
        rgb=truth.rgb[0],
        detail_rgb=truth.rgb[0],
        mask=truth.mask > 127,
        crop_box_px=(0.0, 0.0, float(width_px)),
        source_size=(height_px, width_px),
    )
    began = time.process_time()
    two_stages = pipeline.two_stages(
        photo,
        seed=0,
        elevation_deg=truth.elevation_deg,
        sampler=setting.sampler,
        steps_stage1=setting.steps[0],
        steps_stage2=setting.steps[1],
    )
    views, elevation = pipeline.synthesise(two_stages, truth.elevation_deg)
    cpu_s = time.process_time() - began
    try:
        mesh = pipeline.reconstruct(
            pipeline.source_views(views),
            pipeline.config.grid_resolution,
            ignore_events,
            PhotoEvidence(guess=pipeline.evidence(photo, elevation, two_stages.guessed).guess),
        )
    except EmptySurfaceError:
        return Sampled(rgb=views.rgb, f_05=0.0, cpu_s=cpu_s)
    return Sampled(rgb=views.rgb, f_05=score_surface(mesh, truth.points).f_05, cpu_s=cpu_s)
