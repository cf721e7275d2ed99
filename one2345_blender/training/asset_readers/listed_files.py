# SPDX-License-Identifier: GPL-3.0-or-later
"""Model files of one's own, such as Objaverse's, and the list that says whose they are.

The list is a CSV file with the columns `file` (relative to it), `name`, `author` and `licence` (an
SPDX expression). What it does not name is not used.
"""

from __future__ import annotations

import csv
from pathlib import Path, PurePosixPath

from .model_entry import ModelEntry, slug_of
from .model_file import MODEL_SUFFIXES, read_model_file
from .obj_model import ModelFileError
from .textured_model import TexturedModel

COLUMNS = ("file", "name", "author", "licence")


class ListedEntry(ModelEntry):
    """One file of a list; `model_path` is relative to the list."""

    @property
    def slug(self) -> str:
        """Of the whole path: files in two folders may have one name."""
        return slug_of(str(PurePosixPath(self.model_path).with_suffix("")))


def read_entries(path: Path) -> tuple[ListedEntry, ...]:
    """The files that a list names, in its order.

    Raises:
        ModelFileError: The list cannot be read, lacks a column, or has a row that is not whole or
            names a file of another kind.
    """
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise ModelFileError(
            f"Expected a list of model files at {path}: {error}.",
            hint=f"Write a CSV file with the columns {', '.join(COLUMNS)}.",
        ) from error
    for number, row in enumerate(rows, start=2):
        if not all(row.get(column) for column in COLUMNS):
            raise ModelFileError(
                f"Expected {', '.join(COLUMNS)} in line {number} of {path}, got {row}.",
                hint="Nothing is trained on whose author or licence is not known.",
            )
        if not row["file"].lower().endswith(MODEL_SUFFIXES):
            raise ModelFileError(
                f"Expected a model file in line {number} of {path}, got {row['file']}.",
                hint=f"Use {', '.join(MODEL_SUFFIXES)}.",
            )
    return tuple(
        ListedEntry(
            name=row["name"],
            creator=row["author"],
            category="",
            model_path=row["file"],
            licence=row["licence"],
        )
        for row in rows
    )


def load_model(path: Path, entry: ModelEntry) -> TexturedModel:
    """The model of an entry of the list at `path`, upright, in the file's own units.

    Raises:
        ModelFileError: The file is missing, damaged or empty.
    """
    return read_model_file(path.parent / entry.model_path)
