# SPDX-License-Identifier: GPL-3.0-or-later
"""From a library's archive to its models, whatever the archive's kind."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from .asset_readers import furniture_catalogue, game_actors, listed_files, wheel_models
from .asset_readers.model_entry import ModelEntry
from .asset_readers.obj_model import ModelFileError
from .asset_readers.textured_model import TexturedModel
from .libraries import Library
from .manifest import Asset, Manifest


@dataclass(frozen=True, kw_only=True)
class Reader:
    """How the archives of one kind are read."""

    read_entries: Callable[[Path], Sequence[ModelEntry]]
    load_model: Callable[[Path, ModelEntry], TexturedModel]


READERS = {
    "furniture": Reader(
        read_entries=furniture_catalogue.read_entries, load_model=furniture_catalogue.load_model
    ),
    "0ad": Reader(read_entries=game_actors.read_entries, load_model=game_actors.load_model),
    "wheel": Reader(read_entries=wheel_models.read_entries, load_model=wheel_models.load_model),
    "listed": Reader(read_entries=listed_files.read_entries, load_model=listed_files.load_model),
}
"""By `Library.reader`."""

FoundAsset = tuple[Asset, Library, ModelEntry]


def read_entries(library: Library, packages_dir: Path) -> Sequence[ModelEntry]:
    """Every model of a library, in its own order.

    Raises:
        ModelFileError: The library is not in `packages_dir`.
    """
    entries = READERS[library.reader].read_entries(packages_dir / library.file_name)
    return [entry for entry in entries if entry.licence in (None, library.licence)]


def load_model(library: Library, entry: ModelEntry, packages_dir: Path) -> TexturedModel:
    """One model: upright, +Z up, front towards -Y.

    Raises:
        ModelFileError: The model is missing or empty.
    """
    return READERS[library.reader].load_model(packages_dir / library.file_name, entry)


def find_entries(
    assets: Sequence[Asset], manifest: Manifest, packages_dir: Path
) -> list[FoundAsset]:
    """Some assets of a manifest, in their order, with their library and entry.

    Raises:
        ModelFileError: A library is missing, or is of another version and lacks a model.
    """
    needed = {asset.library for asset in assets}
    entries = {
        (library.key, entry.model_path): (library, entry)
        for library in manifest.libraries
        if library.key in needed
        for entry in read_entries(library, packages_dir)
    }
    found: list[FoundAsset] = []
    for asset in assets:
        if (asset.library, asset.model) not in entries:
            raise ModelFileError(
                f"Expected the model {asset.model} in the library {asset.library}, but it is not "
                "there.",
                hint="Run `python -m one2345_blender.training assets`.",
            )
        found.append((asset, *entries[asset.library, asset.model]))
    return found
