# SPDX-License-Identifier: GPL-3.0-or-later
"""`blender --command one2345 convert PHOTO… --output FILE.blend`, for pipelines without a window.

Exit status as that of `python -m one2345_blender`: 0 done; 2 bad input or wrong use, with the
reason on stderr.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import bpy

from ..contracts.job import MAX_SEED, PRESETS
from .options import QUALITIES
from .reports import without_prefix

COMMAND = "one2345"
EXIT_DONE, EXIT_BAD_INPUT = 0, 2


class CliCommand:
    """The command, which Blender knows while the add-on is enabled."""

    def __init__(self) -> None:
        self._handle: Any = None

    def attach(self) -> None:
        """Called when the add-on is registered."""
        self._handle = bpy.utils.register_cli_command(COMMAND, run)

    def detach(self) -> None:
        """Called when it is unregistered."""
        bpy.utils.unregister_cli_command(self._handle)


CLI_COMMAND = CliCommand()


def run(arguments: Sequence[str]) -> int:
    """Run the command; the exit status."""
    try:
        options = build_parser().parse_args(arguments)
    except SystemExit as ended:  # argparse has said why; Blender wants a number
        return ended.code if isinstance(ended.code, int) else EXIT_BAD_INPUT
    return _convert(options)


def build_parser() -> argparse.ArgumentParser:
    """The parser of what stands after `--command one2345`."""
    parser = argparse.ArgumentParser(prog=f"blender --command {COMMAND}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    convert = commands.add_parser("convert", help="photos become objects in a .blend file")
    convert.add_argument("photos", type=Path, nargs="+", metavar="PHOTO", help="of one object each")
    convert.add_argument(
        "--output", type=Path, required=True, metavar="FILE.blend", help="it is overwritten"
    )
    convert.add_argument(
        "--preset", default=PRESETS[0], help=f"{', '.join(PRESETS)} or a folder with weights"
    )
    convert.add_argument("--seed", type=int, default=0, help=f"0 to {MAX_SEED}")
    convert.add_argument(
        "--elevation-deg",
        type=float,
        metavar="X",
        help="the photos' camera above the horizon, -90 to 90 (default: estimated)",
    )
    convert.add_argument(
        "--resolution",
        type=int,
        default=0,
        metavar="N",
        help="samples along each axis of the volume, 16 to 512 (default: the preset's)",
    )
    convert.add_argument("--quality", type=str.upper, choices=sorted(QUALITIES), default="STANDARD")
    convert.add_argument(
        "--keep", type=Path, metavar="DIR", help="keep meshes, views and reports here"
    )
    return parser


def _convert(options: argparse.Namespace) -> int:
    """Convert into an empty file and save that."""
    bpy.ops.wm.read_homefile(use_empty=True)
    photos = [photo.absolute() for photo in options.photos]
    given = {} if options.elevation_deg is None else {"elevation_deg": options.elevation_deg}
    kept = {} if options.keep is None else {"output_dir": str(options.keep.absolute())}
    try:
        bpy.ops.one2345.image_to_mesh(
            directory="/",
            files=[{"name": str(photo)} for photo in photos],
            preset=options.preset,
            seed=options.seed,
            estimate_elevation=options.elevation_deg is None,
            grid_resolution=options.resolution,
            quality=options.quality,
            **given,
            **kept,
        )
        bpy.ops.wm.save_as_mainfile(filepath=str(options.output.absolute()))
    except (
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:  # what bpy makes of reports and bad values
        sys.stderr.write(f"error: {without_prefix(error)}\n")
        return EXIT_BAD_INPUT
    print(options.output)
    return EXIT_DONE
