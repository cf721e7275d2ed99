# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m one2345_blender.training assets`: inspect, select, split and attribute the models."""

from __future__ import annotations

import argparse
import logging
from collections import Counter
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from .assets import (
    Candidate,
    Inspection,
    inspect_candidate,
    list_candidates,
    select_assets,
)
from .attribution import write_attribution
from .manifest import write_manifest
from .rasterizer import Rasterizer

PACKAGES_DIR = Path("out/training/packages")
DATA_DIR = Path(__file__).parents[1] / "pipeline" / "presets" / "embedded" / "data"
MANIFEST_PATH = DATA_DIR / "manifest.json"
ATTRIBUTION_PATH = DATA_DIR / "ATTRIBUTION.md"

_INSPECTION_SIZE_PX = 64
_log = logging.getLogger(__name__)
_rasterizer: Rasterizer | None = None


def main(argv: list[str]) -> None:
    """Write `manifest.json` and `ATTRIBUTION.md`.

    Raises:
        ModelFileError: A library is missing.
        EnvironmentMissingError: OpenGL is missing.
    """
    parser = argparse.ArgumentParser(prog="assets", description=__doc__)
    parser.add_argument("--packages", type=Path, default=PACKAGES_DIR)
    parser.add_argument("--manifest", type=Path, default=MANIFEST_PATH)
    parser.add_argument("--attribution", type=Path, default=ATTRIBUTION_PATH)
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)

    candidates = list_candidates(args.packages)
    inspect = partial(_inspect, packages_dir=args.packages)
    with get_context("spawn").Pool(args.workers, _start_worker) as pool:
        inspections = []
        for inspection in pool.imap(inspect, candidates, chunksize=4):
            inspections.append(inspection)
            if len(inspections) % 100 == 0:
                _log.info("%d of %d models inspected", len(inspections), len(candidates))
    manifest = select_assets(zip(candidates, inspections, strict=True))
    write_manifest(manifest, args.manifest)
    write_attribution(manifest, args.attribution)
    counts = Counter(asset.split for asset in manifest.assets)
    _log.info("%s, %d left out", dict(counts), len(manifest.dropped))


def _start_worker() -> None:
    global _rasterizer
    _rasterizer = Rasterizer(_INSPECTION_SIZE_PX)


def _inspect(candidate: Candidate, packages_dir: Path) -> Inspection | str:
    assert _rasterizer is not None
    return inspect_candidate(candidate, packages_dir, _rasterizer)
