# SPDX-License-Identifier: GPL-3.0-or-later
"""Errors of the elevation estimate on unseen objects: from rendered and from predicted views, from
the photo, and of two constants, the prior and the middle of the rendered inputs."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..contracts.job import ElevationEstimate
from ..contracts.progress import ignore_events
from ..pipeline.elevation import PRIOR_ELEVATION_DEG, estimate_elevation
from ..pipeline.matching import match_views
from ..pipeline.model_cache import ModelCache
from ..pipeline.view_schedule import LEVEL_OFFSETS, NUM_NEAR_VIEWS, NUM_STAGE1_VIEWS
from ..training.cutouts import rgba_from_render
from ..training.renders import ELEVATION_RANGE_DEG, load_rigs
from ..training.view_data import read_split


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.evaluation elevation`: a line of JSON for each way to estimate."""
    parser = argparse.ArgumentParser(prog="evaluation elevation", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/training"))
    parser.add_argument("--split", default="val")
    parser.add_argument("--objects", type=int, default=40)
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--photo-only", action="store_true", help="no views: much faster")
    args = parser.parse_args(argv)
    pipeline = ModelCache().get(args.preset, "auto")
    constants_deg = {"prior": PRIOR_ELEVATION_DEG, "middle": sum(ELEVATION_RANGE_DEG) / 2.0}
    near = slice(NUM_STAGE1_VIEWS, NUM_STAGE1_VIEWS + NUM_NEAR_VIEWS)
    errors: dict[str, list[float]] = {
        kind: [] for kind in ("rendered", "predicted", "photo", *constants_deg)
    }
    num_estimated = dict.fromkeys(errors, 0)
    for name in read_split(args.data, args.split)[: args.objects]:
        rigs = load_rigs(args.data / "renders" / f"{name}.npz")
        truth_deg = float(rigs.elevation_deg[0])
        photo = pipeline.prepare(rgba_from_render(rigs.rgb[0, 0], rigs.mask[0, 0]))
        two_stages = pipeline.two_stages(photo, seed=0)
        if two_stages.guessed is not None:
            errors["photo"].append(abs(two_stages.guessed.elevation.elevation_deg - truth_deg))
        if not args.photo_only:
            _, predicted = two_stages.views_with_near_views(
                LEVEL_OFFSETS[:2], first_view=0, stage="views_stage1"
            )
            near_views = {"rendered": rigs.rgb[0, near], "predicted": predicted[:NUM_NEAR_VIEWS]}
            for kind, views in near_views.items():
                estimate = _estimate(views)
                errors[kind].append(abs(estimate.elevation_deg - truth_deg))
                num_estimated[kind] += estimate.is_estimated
        for kind, constant_deg in constants_deg.items():
            errors[kind].append(abs(constant_deg - truth_deg))
    for kind, values in errors.items():
        if not values:
            continue
        row = {
            "estimated_from": kind,
            "objects": len(values),
            "median_error_deg": round(float(np.median(values)), 1),
            "mean_error_deg": round(float(np.mean(values)), 1),
            "within_10_deg": round(float(np.mean(np.array(values) <= 10.0)), 2),
            "matched": num_estimated[kind],
        }
        print(json.dumps(row))


def _estimate(near_views: NDArray[np.uint8]) -> ElevationEstimate:
    return estimate_elevation(match_views(near_views, ignore_events), near_views.shape[1])
