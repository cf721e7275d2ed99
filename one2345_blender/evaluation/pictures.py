# SPDX-License-Identifier: GPL-3.0-or-later
"""Converts every picture of a folder and says how well each mesh covers its picture's object."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..contracts.cameras import Viewpoint
from ..contracts.errors import One2345Error
from ..contracts.job_folder import REPORT_JSON
from ..contracts.progress import ignore_events
from ..pipeline.model_cache import ModelCache
from ..pipeline.pipeline_one2345 import One2345Output
from ..pipeline.result_files import write_json
from ..pipeline.source_image import read_source_image
from ..training.picture_scores import silhouette_iou
from .mesh_renderer import MeshRenderer

SHEET_PNG = "sheet.png"
PICTURE_SUFFIXES = {".png", ".jpg", ".jpeg", ".webp"}
AROUND_DEG = (0.0, 90.0, 180.0, 270.0)


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.evaluation pictures`."""
    parser = argparse.ArgumentParser(prog="evaluation pictures", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--preset", default="embedded")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--device", default="auto")
    args = parser.parse_args(argv)
    rows, pictures = evaluate_pictures(
        pictures_in(args.folder), args.preset, args.seed, args.device
    )
    args.output.mkdir(parents=True, exist_ok=True)
    if pictures:
        Image.fromarray(np.concatenate(pictures)).save(args.output / SHEET_PNG)
    ious = [row["silhouette_iou"] for row in rows if "silhouette_iou" in row]
    mean_iou = float(np.mean(ious)) if ious else 0.0
    print(f"{len(ious)} of {len(rows)} pictures became a mesh; mean silhouette IoU {mean_iou:.3f}")
    write_json(args.output / REPORT_JSON, {"mean_silhouette_iou": mean_iou, "pictures": rows})


def pictures_in(folder: Path) -> list[Path]:
    """The picture files of a folder, by name."""
    return sorted(p for p in folder.iterdir() if p.suffix.lower() in PICTURE_SUFFIXES)


def evaluate_pictures(
    paths: list[Path], preset: str, seed: int, device: str
) -> tuple[list[dict[str, Any]], list[NDArray[np.uint8]]]:
    """Convert each picture.

    Returns:
        For each a row (silhouette IoU, elevation, or the error), and for each mesh a strip: the
        input, the eight stage-1 views, the mesh through the matched camera and from four sides.
    """
    models = ModelCache()
    rows: list[dict[str, Any]] = []
    strips = []
    for path in paths:
        try:
            pipeline = models.get(preset, device)
            output = pipeline(read_source_image(path), seed=seed, on_event=ignore_events)
        except One2345Error as error:
            rows.append({"picture": path.name, "error": error.message})
            print(json.dumps(rows[-1]))
            continue
        iou, strip = compare_with_picture(output)
        rows.append(
            {
                "picture": path.name,
                "silhouette_iou": round(iou, 4),
                "elevation_deg": output.elevation.elevation_deg,
                "is_estimated": output.elevation.is_estimated,
                "confidence": round(output.elevation.confidence, 3),
                "num_faces": len(output.mesh.faces),
            }
        )
        strips.append(strip)
        print(json.dumps(rows[-1]))
    return rows, strips


def compare_with_picture(output: One2345Output) -> tuple[float, NDArray[np.uint8]]:
    """Silhouette IoU through the matched camera, and a strip of pictures `(2 S, 9 S, 3)`."""
    mask = output.foreground.mask
    elevation_deg = output.elevation.elevation_deg
    around = [
        Viewpoint(name=f"{azimuth:g}", azimuth_deg=azimuth, elevation_deg=elevation)
        for elevation in (elevation_deg, 20.0)
        for azimuth in AROUND_DEG
    ]
    with MeshRenderer(len(mask)) as renderer:
        _, silhouette = renderer.render(output.mesh, around[0])
        colored = [renderer.render(output.mesh, view)[0] for view in around[:4]]
        clay = [renderer.render(output.mesh, view, is_clay=True)[0] for view in around[4:]]
    iou = float(silhouette_iou(mask, silhouette))
    overlap = np.stack([mask, silhouette, mask], axis=-1).astype(np.uint8) * 255
    top = [output.foreground.rgb, *output.views.rgb[:8]]
    bottom = [overlap, *colored, *clay]
    return iou, np.concatenate([np.concatenate(top, axis=1), np.concatenate(bottom, axis=1)])
