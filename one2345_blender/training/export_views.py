# SPDX-License-Identifier: GPL-3.0-or-later
"""Copies the trained view generator into a preset folder, in half precision."""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from ..pipeline.zero123.pipeline_zero123 import Zero123Pipeline

EMBEDDED_PRESET = Path(__file__).parents[1] / "pipeline" / "presets" / "embedded"


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training export-views`."""
    parser = argparse.ArgumentParser(prog="export-views", description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("out/training"), help="training data")
    parser.add_argument("--preset", type=Path, default=EMBEDDED_PRESET)
    args = parser.parse_args(argv)
    export_views(args.data / "views" / "pipeline", args.preset)


def export_views(pipeline_dir: Path, preset_dir: Path) -> None:
    """Write the component folders; `model_index.json` belongs to the whole preset."""
    pipeline = Zero123Pipeline.from_pretrained(pipeline_dir, dtype=torch.float16)
    for name, component in pipeline.components.items():
        component.save_pretrained(preset_dir / name)
