# SPDX-License-Identifier: GPL-3.0-or-later
"""How near a preset's synthesised views come to renders of objects it has not seen."""

from __future__ import annotations

import argparse
from pathlib import Path

from ..contracts.errors import OptionError
from ..training.sampling_options import add_sampling, drawing_as_asked
from ..training.validate_views import VIEWS_BY_KIND, compare_views, validate_views
from ..training.view_data import RigReader, read_split
from ..training.view_generator import ViewGenerator


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.evaluation views`: a Markdown table and a contact sheet."""
    parser = argparse.ArgumentParser(prog="evaluation views", description=__doc__)
    parser.add_argument("--preset", type=Path, required=True, help="folder of the preset")
    parser.add_argument("--data", type=Path, default=Path("out/training"), help="rendered data")
    parser.add_argument("--part", default="val", help="of the split")
    parser.add_argument("--objects", type=int, default=24, help="at most so many")
    parser.add_argument("--sheet", type=Path, default=Path("out/views_sheet.png"))
    add_sampling(parser)
    args = parser.parse_args(argv)
    generator = drawing_as_asked(ViewGenerator.of_preset(args.preset, args.data), args)
    names = read_split(args.data, args.part)[: args.objects]
    rigs = RigReader(args.data, names, rigs_per_asset=1).read_new()
    if not rigs.asset_ids:
        raise OptionError(
            f"Nothing of the part {args.part!r} is rendered in {args.data}.",
            hint="Run `python -m one2345_blender.training renders`.",
        )
    guesses = generator.guesses(rigs)
    scores = validate_views(
        generator.zero123, guesses, rigs, args.sheet, generator.sampling, VIEWS_BY_KIND
    )
    print("| views | PSNR dB | silhouette IoU | input's PSNR dB | input's IoU |")
    print("|---|---|---|---|---|")
    _print_rows(scores)
    if guesses is not None:
        guess_sheet = args.sheet.with_stem(f"{args.sheet.stem}_guess")
        guess_scores = compare_views(guesses, rigs, guess_sheet, VIEWS_BY_KIND)
        _print_rows({f"{kind}, the guess alone": score for kind, score in guess_scores.items()})


def _print_rows(scores: dict[str, dict[str, float]]) -> None:
    for kind, score in scores.items():
        print(
            f"| {kind} | {score['psnr_db']:.2f} | {score['iou']:.3f} "
            f"| {score['input_psnr_db']:.2f} | {score['input_iou']:.3f} |"
        )
