# SPDX-License-Identifier: GPL-3.0-or-later
"""How views are to be drawn, on the command line."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

from .view_generator import ViewGenerator
from .view_recipes import SAMPLINGS


def add_sampling(parser: argparse.ArgumentParser) -> None:
    """`--sampling`, `--steps` and `--guidance-scale`."""
    parser.add_argument(
        "--sampling",
        choices=SAMPLINGS,
        help="how views are drawn, see view_recipes.py; default: as the Zero123 is used",
    )
    parser.add_argument("--steps", type=int, help="denoising steps, in place of that way's")
    parser.add_argument("--guidance-scale", type=float, help="in place of that way's")


def drawing_as_asked(generator: ViewGenerator, args: argparse.Namespace) -> ViewGenerator:
    """The generator itself where nothing is asked; see `ViewGenerator.drawing`."""
    asked: dict[str, Any] = {
        "num_inference_steps": args.steps,
        "guidance_scale": args.guidance_scale,
    }
    asked = {name: value for name, value in asked.items() if value is not None}
    if not asked and not args.sampling:
        return generator
    way = SAMPLINGS[args.sampling] if args.sampling else generator.sampling
    return generator.drawing(replace(way, **asked))
