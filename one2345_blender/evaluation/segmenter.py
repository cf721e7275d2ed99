# SPDX-License-Identifier: GPL-3.0-or-later
"""How well a preset's segmenter finds the object: on held-out composites, and on your pictures."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..pipeline.foreground import segment
from ..pipeline.model_cache import ModelCache
from ..pipeline.segmenter import ForegroundSegmenter
from ..pipeline.source_image import read_source_image
from ..training.picture_scores import silhouette_iou
from ..training.train_segmenter import (
    darkened_outside,
    read_backgrounds,
    validate,
    validation_composites,
)
from .pictures import SHEET_PNG, pictures_in

BACKDROP_LEVEL = 160
"""Grey that stands behind pictures which have an alpha."""
TILE_PX = 256


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.evaluation segmenter`: a line of JSON for each score."""
    parser = argparse.ArgumentParser(prog="evaluation segmenter", description=__doc__)
    parser.add_argument("--preset", default="embedded", help="name or folder")
    parser.add_argument("--output", type=Path, required=True, help="for the contact sheets")
    parser.add_argument("--data", type=Path, help="training data, for composites: out/training")
    parser.add_argument("--pictures", type=Path, help="a folder; an alpha is only compared with")
    args = parser.parse_args(argv)
    if args.data is None and args.pictures is None:
        parser.error("expected --data, --pictures or both, but there is nothing to look at")
    network = ModelCache().get(args.preset, "cpu").segmenter
    if args.data is not None:
        folder = args.output / "composites"
        folder.mkdir(parents=True, exist_ok=True)
        size_px = network.config.sample_size
        composites = validation_composites(args.data, read_backgrounds(args.data), size_px)
        iou = validate(network, *composites, folder)
        print(json.dumps({"composites": len(composites[0]), "mean_iou": iou}))
    if args.pictures is not None:
        folder = args.output / "pictures"
        folder.mkdir(parents=True, exist_ok=True)
        tiles = [_compare(network, path) for path in pictures_in(args.pictures)]
        if tiles:
            Image.fromarray(np.concatenate(tiles, axis=1)).save(folder / SHEET_PNG)


def _compare(network: ForegroundSegmenter, path: Path) -> NDArray[np.uint8]:
    """Print the score of one picture; it, and below it what the segmenter leaves."""
    image = read_source_image(path)
    has_alpha = image.shape[-1] == 4
    picture = Image.fromarray(image).convert("RGBA")
    ground = Image.new("RGBA", picture.size, (BACKDROP_LEVEL,) * 3 + (255,))
    rgb = np.asarray(Image.alpha_composite(ground, picture).convert("RGB"))
    mask = segment(rgb, network) > 127
    row = {"picture": path.name, "covered": round(float(mask.mean()), 3)}
    if has_alpha:
        row["iou_with_alpha"] = round(float(silhouette_iou(mask, image[..., 3] > 127)), 3)
    print(json.dumps(row))
    tiles = [
        Image.fromarray(part).resize((TILE_PX, TILE_PX))
        for part in (rgb, darkened_outside(rgb, mask))
    ]
    return np.concatenate([np.asarray(tile) for tile in tiles])
