# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m one2345_blender.training renders`: render every model of the manifest, resumably."""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import time
from functools import partial
from multiprocessing import get_context
from pathlib import Path

from ..contracts.errors import OptionError
from ..contracts.job_folder import atomic_write, prepare_output_dir
from .assets_command import MANIFEST_PATH, PACKAGES_DIR
from .framing import VIEW_SIZE_PX
from .manifest import SPLITS, Asset, read_manifest
from .model_readers import FoundAsset, find_entries, load_model
from .rasterizer import Rasterizer
from .renders import (
    NUM_RIGS,
    is_rendered,
    object_seed_text,
    render_rigs,
    rendered_size_px,
    save_rigs,
)

SPLIT_FILE = "split.json"
DONE_FILE = "DONE"

_REPORT_EVERY = 25
_log = logging.getLogger(__name__)
_rasterizer: Rasterizer | None = None


def main(argv: list[str]) -> None:
    """Render what is not rendered yet; `DONE` is written when nothing is missing.

    Raises:
        ManifestError: `assets` was not run.
        OptionError: The folder holds views of another size.
        ModelFileError: A library or a model is missing.
        EnvironmentMissingError: OpenGL is missing.
    """
    parser = argparse.ArgumentParser(prog="renders", description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("out/training/renders"))
    parser.add_argument("--packages", type=Path, default=PACKAGES_DIR)
    parser.add_argument("--manifest", type=Path, default=MANIFEST_PATH)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument(
        "--train-rigs",
        type=int,
        default=NUM_RIGS["train"],
        metavar="N",
        help="rigs of each training object",
    )
    parser.add_argument("--size", type=int, default=VIEW_SIZE_PX, help="side of the views, px")
    parser.add_argument(
        "--normals", action="store_true", help="keep them, too; the trainings do without"
    )
    args = parser.parse_args(argv)

    manifest = read_manifest(args.manifest)
    prepare_output_dir(args.output)
    if rendered_size_px(args.output) not in (None, args.size):
        raise OptionError(
            f"Expected views of {args.size} px in {args.output}, but it holds views of "
            f"{rendered_size_px(args.output)} px.",
            hint="Render each size to a folder of its own (--output).",
        )
    with atomic_write(args.output.parent / SPLIT_FILE) as file:
        file.write(json.dumps({split: manifest.ids(split) for split in SPLITS}, indent=0).encode())

    ordered = sorted(manifest.assets, key=_render_order)
    missing = [a for a in ordered if not is_rendered(args.output / f"{a.asset_id}.npz")]
    tasks = find_entries(missing, manifest, args.packages)
    num_rigs = NUM_RIGS | {"train": args.train_rigs}
    render = partial(
        _render,
        num_rigs=num_rigs,
        packages_dir=args.packages,
        output_dir=args.output,
    )
    started_s = time.monotonic()
    with get_context("spawn").Pool(args.workers, _start_worker, (args.size, args.normals)) as pool:
        for done, asset_id in enumerate(pool.imap_unordered(render, tasks), start=1):
            if done % _REPORT_EVERY == 0 or done == len(tasks):
                seconds = time.monotonic() - started_s
                _log.info("%d of %d in %.0f s, last %s", done, len(tasks), seconds, asset_id)
    with atomic_write(args.output / DONE_FILE) as file:
        file.write(f"{len(ordered)} models\n".encode())


def _render_order(asset: Asset) -> tuple[int, bytes]:
    """Split by split, mixed within: a training run may start on what is there already."""
    return SPLITS.index(asset.split), hashlib.sha256(asset.asset_id.encode()).digest()


def _start_worker(size_px: int, with_normals: bool) -> None:
    global _rasterizer
    _rasterizer = Rasterizer(size_px, with_normals=with_normals)


def _render(
    found: FoundAsset, num_rigs: dict[str, int], packages_dir: Path, output_dir: Path
) -> str:
    assert _rasterizer is not None
    asset, library, entry = found
    rigs = render_rigs(
        load_model(library, entry, packages_dir),
        _rasterizer,
        num_rigs=num_rigs[asset.split],
        seed_text=object_seed_text(asset.asset_id),
    )
    save_rigs(rigs, output_dir / f"{asset.asset_id}.npz")
    return asset.asset_id
