# SPDX-License-Identifier: GPL-3.0-or-later
"""Trains reconstruction networks by different recipes for equally long, and prints their scores."""

from __future__ import annotations

import json

from .reconstruction_recipes import RECIPES
from .run_folder import PROGRESS_NAME
from .train_reconstruction import reconstruction_parser, train_reconstruction
from .training_options import options_from

COLUMNS = ("true_iou", "true_sdf_l1", "predicted_iou", "predicted_sdf_l1")


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training compare-reconstructions`: a Markdown table."""
    parser = reconstruction_parser("compare-reconstructions", __doc__)
    parser.add_argument("--recipes", nargs="+", choices=RECIPES, default=list(RECIPES))
    args = parser.parse_args(argv)
    folder = args.data / "compare_reconstructions"
    rows = []
    for name in args.recipes:
        run_dir = folder / name
        scores = train_reconstruction(options_from(args), args, run_dir, RECIPES[name])
        progress = json.loads((run_dir / PROGRESS_NAME).read_text(encoding="utf-8"))
        cells = [f"{scores[column]:.4f}" if column in scores else "-" for column in COLUMNS]
        rows.append([name, str(progress["step"]), f"{progress['seconds'] / 60:.1f}", *cells])
        (run_dir / "scores.json").write_text(json.dumps(scores, indent=2), encoding="utf-8")
    print(f"| recipe | steps | minutes | {' | '.join(COLUMNS)} |")
    print("|---" * (3 + len(COLUMNS)) + "|")
    for row in rows:
        print(f"| {' | '.join(row)} |")
