# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains small Zero123s by different recipes for equally long, and scores their views."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from .run_folder import RunFolder
from .train_autoencoder import train_reader
from .train_views import draw_view_batch, view_training_loop
from .training_options import TrainingOptions, options_from, options_parser
from .validate_views import compare_views, validate_views
from .view_data import RigReader, RigViews, read_split
from .view_encoders import LatentRigs, ViewEncoders
from .view_generator import ViewGenerator
from .view_recipes import RECIPES, ViewRecipe

Scores = dict[str, dict[str, float]]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What all recipes share."""

    options: TrainingOptions
    folder: Path
    data: LatentRigs
    unseen: RigViews
    unseen_guesses: np.ndarray | None

    def train(self, name: str, recipe: ViewRecipe) -> list[tuple[str, Scores]]:
        """The scores of one recipe for each of its ways to sample, with a row's label each."""
        generator = ViewGenerator.untrained(self.options.data, self.options.seed, recipe)
        run = RunFolder(self.folder / name)
        loop = view_training_loop(run, generator, self.options, recipe)
        loop.take_steps(lambda slots: draw_view_batch(self.data, slots, recipe))
        rows = []
        for sampling in recipe.samplings:
            steps, guidance_scale = sampling.num_inference_steps, sampling.guidance_scale
            label = f"{name} | {loop.progress.images} | {steps}, {guidance_scale:g}"
            with torch.autocast("cpu", torch.bfloat16):
                scores = validate_views(
                    generator.drawing(sampling).zero123,
                    self.unseen_guesses if generator.zero123.takes_guess else None,
                    self.unseen,
                    self.folder / f"{name}_{steps}.png",
                    sampling,
                )
            rows.append((label, scores))
        return rows


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training compare-views`: a Markdown table, and sheets."""
    parser = options_parser("compare-views", __doc__)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    parser.add_argument("--objects", type=int, default=600, help="trained on, at most")
    parser.add_argument("--unseen", type=int, default=40, help="validation objects, at most")
    args = parser.parse_args(argv)
    options = options_from(args)
    folder = options.data / "compare_views"
    folder.mkdir(exist_ok=True)
    encoders = ViewEncoders.trained(options.data, options.seed)
    data = encoders.encode(train_reader(options).read_first(max_assets=args.objects))
    names = read_split(options.data, "val")[: args.unseen]
    unseen = RigReader(options.data, names, rigs_per_asset=1).read_new()
    guesses = encoders.guesses(unseen)
    comparison = Comparison(
        options=options, folder=folder, data=data, unseen=unseen, unseen_guesses=guesses
    )
    rows = []
    if guesses is not None:
        rows.append(
            ("the guess alone | - | -", compare_views(guesses, unseen, folder / "guess.png"))
        )
    for name in args.recipes:
        rows += comparison.train(name, RECIPES[name])
        (folder / "scores.json").write_text(json.dumps(dict(rows), indent=2), encoding="utf-8")
    _print_table(rows)


def _print_table(rows: list[tuple[str, Scores]]) -> None:
    kinds = tuple(rows[0][1])
    print(f"| recipe | samples | steps, guidance | {' | '.join(f'{k} dB, IoU' for k in kinds)} |")
    print("|---" * (3 + len(kinds)) + "|")
    inputs = [f"{s['input_psnr_db']:.2f}, {s['input_iou']:.3f}" for s in rows[0][1].values()]
    print(f"| input repeated | - | - | {' | '.join(inputs)} |")
    for label, scores in rows:
        cells = [f"{s['psnr_db']:.2f}, {s['iou']:.3f}" for s in scores.values()]
        print(f"| {label} | {' | '.join(cells)} |")
