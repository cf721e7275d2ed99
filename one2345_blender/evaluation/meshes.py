# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores a preset's meshes of unseen objects against the true ones, beside simple baselines."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..contracts.errors import OptionError
from ..contracts.job_folder import prepare_output_dir
from ..pipeline.model_cache import ModelCache
from ..pipeline.process_memory import peak_memory_bytes
from ..pipeline.result_files import write_json
from ..training.assets_command import MANIFEST_PATH, PACKAGES_DIR
from ..training.framing import VIEW_SIZE_PX
from .ablation import ablations
from .attempts import (
    PIPELINE,
    Attempt,
    Method,
    guess_alone,
    outline_hull,
    true_box,
    true_ellipsoid,
    true_views,
    whole_pipeline,
)
from .clip_similarity import ClipSimilarity
from .mesh_renderer import MeshRenderer
from .mesh_scores import MeshScores, draw, score_attempt, score_repeated_input
from .score_table import markdown_table, remarks, summarise
from .test_sets import model_file_objects, rendered_objects
from .truth import SIDE_VIEWPOINTS, TrueObject

GUESS, TRUE_VIEWS, REPEATED = "guess alone", "true views", "input repeated"
SIMPLE_METHODS: dict[str, Method] = {
    "visual hull of the input": outline_hull,
    "ellipsoid of the true size": true_ellipsoid,
    "box of the true size": true_box,
}
SCORES_JSON, TABLE_MD, SHEET_PNG = "scores.json", "scores.md", "sheet.png"


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.evaluation meshes`.

    Raises:
        OptionError: There is nothing to compare.
        ManifestError, ModelFileError, TruthError: The test set is not complete.
    """
    args = _parse(argv)
    prepare_output_dir(args.output)
    clip = ClipSimilarity(args.clip) if args.clip else None
    methods, size_px = _methods(args)
    comparison = compare(_test_set(args, size_px), methods, size_px, clip)
    if not comparison.rows:
        raise OptionError(
            "Expected objects to compare with, but there are none in "
            f"{args.models or f'the part {args.part!r} of {args.data}'}.",
            hint="Run `python -m one2345_blender.training renders`, or give a folder of models.",
        )
    summaries = {name: summarise(values) for name, values in comparison.scores.items()}
    peak_bytes = peak_memory_bytes()
    text = "\n".join([markdown_table(summaries), "", *remarks(summaries, peak_bytes)])
    print(text)
    (args.output / TABLE_MD).write_text(text + "\n", encoding="utf-8")
    report = {
        "preset": args.preset,
        "test_set": str(args.models or args.part),
        "seed": args.seed,
        "elevation_error_deg": args.elevation_error_deg,
        "iso_level": args.iso_level,
        "peak_memory_bytes": peak_bytes,
        "means": summaries,
        "objects": comparison.rows,
    }
    write_json(args.output / SCORES_JSON, report)
    Image.fromarray(np.concatenate(comparison.strips)).save(args.output / SHEET_PNG)


def _parse(argv: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="evaluation meshes", description=__doc__)
    parser.add_argument("--preset", default="embedded", help="name or folder")
    parser.add_argument("--data", type=Path, default=Path("out/training"), help="rendered data")
    parser.add_argument("--part", default="val", help="of the split")
    parser.add_argument("--objects", type=int, default=40, help="at most so many")
    parser.add_argument(
        "--models", type=Path, help="a folder of model files, in place of the rendered data"
    )
    parser.add_argument("--packages", type=Path, default=PACKAGES_DIR, help="the models")
    parser.add_argument("--manifest", type=Path, default=MANIFEST_PATH)
    parser.add_argument("--output", type=Path, default=Path("out/evaluation"))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    parser.add_argument(
        "--elevation-error-deg", type=float, help="give the true elevation, wrong by so much"
    )
    parser.add_argument("--iso-level", type=float, help="another level set than the preset's")
    parser.add_argument("--clip", type=Path, help="folder of a CLIP vision model, for one column")
    parser.add_argument(
        "--ablation", action="store_true", help="what each part brings, in place of baselines"
    )
    parser.add_argument("--baselines-only", action="store_true", help="only what needs no network")
    return parser.parse_args(argv)


def _methods(args: argparse.Namespace) -> tuple[dict[str, Method], int]:
    """What is compared, by name, and the side of its pictures in pixels."""
    if args.baselines_only:
        return SIMPLE_METHODS, VIEW_SIZE_PX
    pipeline = ModelCache().get(args.preset, args.device)
    if args.iso_level is not None:
        pipeline.reconstruction.register_to_config(iso_level=args.iso_level)
    if args.ablation:
        return ablations(pipeline, seed=args.seed), pipeline.view_size_px
    convert = whole_pipeline(pipeline, seed=args.seed, elevation_error_deg=args.elevation_error_deg)
    has_guess = pipeline.photo_lifter is not None and pipeline.photo_elevation is not None
    methods = {
        PIPELINE: convert,
        **({GUESS: guess_alone(pipeline)} if has_guess else {}),
        TRUE_VIEWS: true_views(pipeline, pipeline.source_views),
        **SIMPLE_METHODS,
    }
    return methods, pipeline.view_size_px


def _test_set(args: argparse.Namespace, size_px: int) -> Iterator[TrueObject]:
    if args.models:
        return model_file_objects(args.models, args.objects, size_px=size_px)
    return rendered_objects(
        args.data,
        args.part,
        args.objects,
        packages_dir=args.packages,
        manifest=args.manifest,
        size_px=size_px,
    )


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """What was found of all objects, in their order."""

    scores: dict[str, list[MeshScores]]
    """By method."""
    rows: list[dict[str, Any]]
    """Of each object, as JSON values."""
    strips: list[NDArray[np.uint8]]
    """Of each object, see `contact_strip`."""


def compare(
    test_set: Iterable[TrueObject],
    methods: Mapping[str, Method],
    size_px: int,
    clip: ClipSimilarity | None,
) -> Comparison:
    """Let every method make every object; one printed line each says how far it is."""
    result = Comparison(scores={name: [] for name in (*methods, REPEATED)}, rows=[], strips=[])
    for truth in test_set:
        attempts = {name: method(truth) for name, method in methods.items()}
        with MeshRenderer(size_px) as renderer:
            for name, attempt in attempts.items():
                result.scores[name].append(score_attempt(attempt, truth, renderer, clip))
            result.strips.append(contact_strip(attempts, truth, renderer))
        result.scores[REPEATED].append(score_repeated_input(truth, clip))
        latest = {name: values[-1].as_row() for name, values in result.scores.items()}
        result.rows.append(
            {
                "object": truth.asset_id,
                "elevation_deg": round(truth.elevation_deg, 2),
                "seen_share": round(truth.seen_share, 3),
                "scores": latest,
            }
        )
        f_scores = {name: row["f_05"] for name, row in latest.items()}
        print(json.dumps({"object": truth.asset_id, "f_05": f_scores}), flush=True)
    return result


def contact_strip(
    attempts: dict[str, Attempt], truth: TrueObject, renderer: MeshRenderer
) -> NDArray[np.uint8]:
    """Pictures of one object: the input and the predicted views; below, from four sides each, the
    truth and the mesh; below, the mesh as clay and the mesh from true views. `(3 S, 9 S, 3)`."""
    blank = np.full_like(truth.rgb[0], 255)
    shown = attempts.get(PIPELINE) or attempts["visual hull of the input"]
    rows = [[shown.rgb, *([blank] * 8 if shown.views_rgb is None else shown.views_rgb)]]
    sides = _from_four_sides(shown, renderer)
    rows.append([blank, *truth.sides_rgb, *sides])
    rows.append(
        [
            blank,
            *_from_four_sides(shown, renderer, is_clay=True),
            *(
                _from_four_sides(attempts[TRUE_VIEWS], renderer)
                if TRUE_VIEWS in attempts
                else [blank] * 4
            ),
        ]
    )
    return np.concatenate([np.concatenate(row, axis=1) for row in rows])


def _from_four_sides(
    attempt: Attempt, renderer: MeshRenderer, *, is_clay: bool = False
) -> list[NDArray[np.uint8]]:
    return [
        draw(renderer, attempt.mesh_in_world, view, is_clay=is_clay)[0] for view in SIDE_VIEWPOINTS
    ]
