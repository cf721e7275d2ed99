# SPDX-License-Identifier: GPL-3.0-or-later
"""Names of the files of a job, and the one way to write them: whole or not at all."""

from __future__ import annotations

import os
import tempfile
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
