# SPDX-License-Identifier: GPL-3.0-or-later
"""OBJ models inside Python wheels, which are zip archives without a catalogue: it stands here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from zipfile import BadZipFile, ZipFile

from .archive_folder import ArchiveFolder
from .model_entry import ModelEntry
from .mtl_materials import Material, parse_mtl
from .obj_model import ModelFileError, read_obj
from .textured_model import UP_FROM_Y_UP, TexturedModel, transform_model


@dataclass(frozen=True, kw_only=True)
class WheelEntry(ModelEntry):
    """One model of a wheel."""

    texture_name: str | None
    """What the publisher's program puts on it where its materials say nothing; relative to it."""
    is_y_up: bool


def _miniworld(name: str, texture_name: str | None = None) -> WheelEntry:
    return WheelEntry(
        name=name.replace("_", " "),
        creator="Farama Foundation and contributors",
        category="miniworld",
        model_path=f"miniworld/meshes/{name}.obj",
        texture_name=texture_name,
        is_y_up=True,
    )


def _robosuite(name: str, texture_name: str) -> WheelEntry:
    return WheelEntry(
        name=name,
        creator="robosuite contributors",
        category="robosuite",
        model_path=f"robosuite/models/assets/objects/meshes/{name}.obj",
        texture_name=f"../../textures/{texture_name}",
        is_y_up=False,
    )


CATALOGUE = (
    _miniworld("ball_yellow"),
    _miniworld("barrel"),
    _miniworld("barrier", "barrier.png"),
    _miniworld("building", "building.png"),
    _miniworld("cone", "cone.png"),
    _miniworld("doom_door"),
    _miniworld("duckie", "duckie.png"),
    _miniworld("key_red"),
    _miniworld("keycard"),
    _miniworld("medkit", "medkit.png"),
    _miniworld("office_chair", "office_chair.png"),
    _miniworld("office_desk", "office_desk.png"),
    _miniworld("potion"),
    _miniworld("tree"),
    _miniworld("tree_pine"),
    _robosuite("bottle", "glass.png"),
    _robosuite("bread", "bread.png"),
    _robosuite("can", "soda.png"),
    _robosuite("cereal", "cereal.png"),
    _robosuite("lemon", "lemon.png"),
    _robosuite("milk", "ceramic.png"),
)
"""Models of all wheels: the textured or coloured ones that are objects of their own."""


def read_entries(path: Path) -> tuple[WheelEntry, ...]:
    """Those of the catalogue that this wheel holds.

    Raises:
        ModelFileError: `path` is no wheel with any of them.
    """
    try:
        with ZipFile(path) as archive:
            members = set(archive.namelist())
    except (OSError, BadZipFile):
        members = set()
    entries = tuple(entry for entry in CATALOGUE if entry.model_path in members)
    if not entries:
        raise ModelFileError(
            f"Expected a wheel with known models at {path}, but there is none.",
            hint="Run scripts/install_training_packages.sh.",
        )
    return entries


def load_model(path: Path, entry: ModelEntry) -> TexturedModel:
    """The model of an entry, upright, in the file's own units.

    Its materials are those of the file with the model's own name, as the publishers' programs have
    it, whatever the model says.

    Raises:
        ModelFileError: The model is missing or empty.
    """
    assert isinstance(entry, WheelEntry)
    with ZipFile(path) as archive:
        stem = PurePosixPath(entry.model_path)
        materials = ArchiveFolder(archive, str(stem.parent)).read(f"{stem.stem}.mtl") or b""
        model = read_obj(
            archive,
            entry.model_path,
            parse_mtl(materials.decode("utf-8", errors="replace")),
            fallback=Material(texture_name=entry.texture_name),
        )
    return transform_model(model, UP_FROM_Y_UP) if entry.is_y_up else model
