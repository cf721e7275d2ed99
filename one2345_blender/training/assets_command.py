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
from .inspection_file import append_inspection, inspection_key, read_inspections
from .libraries import LIBRARIES, TRAINING_LICENCES, libraries_under, listed_libraries
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
    parser.add_argument(
        "--licences",
        nargs="+",
        choices=TRAINING_LICENCES,
        default=TRAINING_LICENCES,
        help="families of licences of the models to train on",
    )
    parser.add_argument(
        "--models",
        metavar="LIST",
        help="a CSV file in the folder of packages that lists model files with their authors and "
        "licences; they are used in place of the packages",
    )
    parser.add_argument(
        "--inspections",
        type=Path,
        default=Path("out/training/inspections.jsonl"),
        help="what was found before; models in it are not looked at again",
    )
    parser.add_argument("--workers", type=int, default=2)
    args = parser.parse_args(argv)

    known = listed_libraries(args.packages / args.models) if args.models else LIBRARIES
    libraries = libraries_under(args.licences, known)
    for library in known:
        if library not in libraries:
            _log.info("%s is left out: %s", library.name, library.licence)
    candidates = list_candidates(args.packages, libraries)
    inspections = read_inspections(args.inspections)
    missing = [c for c in candidates if inspection_key(c) not in inspections]
    inspect = partial(_inspect, packages_dir=args.packages)
    args.inspections.parent.mkdir(parents=True, exist_ok=True)
    with (
        get_context("spawn").Pool(args.workers, _start_worker) as pool,
        args.inspections.open("a", encoding="utf-8") as file,
    ):
        for done, found in enumerate(pool.imap(inspect, missing, chunksize=4), start=1):
            key = inspection_key(missing[done - 1])
            inspections[key] = found
            append_inspection(file, key, found)
            if done % 100 == 0:
                _log.info("%d of %d models inspected", done, len(missing))
    manifest = select_assets((c, inspections[inspection_key(c)]) for c in candidates)
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
