# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the files of a job, and the one way to write them: whole or not at all."""

from __future__ import annotations

import os
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from .errors import OutputError

MESH_NPZ = "mesh.npz"
MESH_PLY = "mesh.ply"
MESH_GLB = "mesh.glb"
TRANSFORMS_JSON = "transforms.json"
REPORT_JSON = "report.json"
VIEWS_DIR = "views"
FOREGROUND_PNG = "foreground.png"
PHOTO_PNG = "photo.png"
WORKER_LOG = "worker.log"
TRACEBACK_TXT = "traceback.txt"


def prepare_output_dir(folder: Path) -> None:
    """Create `folder` if needed and make sure that files can be written to it.

    Raises:
        OutputError: It is a file, or nothing can be written there.
    """
    hint = "Choose a folder that you may write to."
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise OutputError(
            f"Expected a folder that can be written to, but {folder}: {error.strerror or error}.",
            hint=hint,
        ) from error


def folder_within(folder: Path, name: str) -> Path:
    """The folder of that name in a job's folder, made if it is not there.

    Raises:
        OutputError: It cannot be made, or is a link that leads elsewhere.
    """
    inside = folder / name
    try:
        inside.mkdir(parents=True, exist_ok=True)
        leads_elsewhere = inside.resolve() != folder.resolve() / name
    except OSError as error:
        raise OutputError(
            f"Could not make the folder {inside}: {error.strerror or error}.",
            hint="Check free space and permissions of the output folder.",
        ) from error
    if leads_elsewhere:
        raise OutputError(
            f"Expected a folder at {inside}, got a link to {inside.resolve()}.",
            hint="Delete that link, or choose another output folder.",
        )
    return inside


def write_traceback(folder: Path) -> Path:
    """The traceback of the exception that is being handled, in a file of a job's folder.

    Raises:
        OutputError: It cannot be written.
    """
    path = folder / TRACEBACK_TXT
    with atomic_write(path) as file:
        file.write(traceback.format_exc().encode("utf-8", "backslashreplace"))
    return path


@contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a temporary file beside `path`; it takes that name only when the block succeeds.

    Raises:
        OutputError: The file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)
        with temporary.open("xb") as file:  # never through a link that waits there
            yield file
        temporary.replace(path)
    except OSError as error:
        raise OutputError(
            f"Could not write {path}: {error.strerror or error}.",
            hint="Check free space and permissions of the output folder.",
        ) from error
    finally:
        temporary.unlink(missing_ok=True)
