# SPDX-License-Identifier: GPL-3.0-or-later
"""Sweet Home 3D's furniture catalogues: zip archives of OBJ models with a `.properties` index."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from .model_entry import ModelEntry
from .mtl_materials import Material, parse_mtl
from .obj_model import ModelFileError, read_obj
from .textured_model import TexturedModel, transform_model

PLUGIN_INDEX = "PluginFurnitureCatalog.properties"
"""Index of a furniture library (`.sh3f`)."""
PROGRAM_INDEX = "com/eteks/sweethome3d/io/DefaultFurnitureCatalog.properties"
"""Index of the catalogue inside the program (`sweethome3d.jar`)."""
PROGRAM_MATERIALS = "com/eteks/sweethome3d/j3d/OBJLoader.class"
"""Where the program keeps the text of its built-in MTL materials."""

_UP_FROM_CATALOGUE = np.array([[1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
"""Catalogue axes (x right, y up, z to the front) to ours (+Z up, front towards -Y)."""


@dataclass(frozen=True, kw_only=True)
class CatalogueEntry(ModelEntry):
    """One piece of furniture, as its catalogue describes it."""

    size_cm: tuple[float, float, float]
    """Width, depth, height."""
    rotation: NDArray[np.float64]
    """`(3, 3)`, applied to the model's own axes before it is scaled to `size_cm`."""


@dataclass(frozen=True, kw_only=True)
class FurnitureCatalogue:
    """A furniture library and all its entries."""

    path: Path
    version: str
    licence_text: str
    """As the catalogue states it."""
    entries: tuple[CatalogueEntry, ...]


def read_catalogue(path: Path) -> FurnitureCatalogue:
    """Read the index of a furniture library or of the program's own catalogue.

    Raises:
        ModelFileError: `path` is no archive with such an index.
    """
    try:
        with ZipFile(path) as archive:
            names = set(archive.namelist())
            index = next(name for name in (PLUGIN_INDEX, PROGRAM_INDEX) if name in names)
            properties = parse_properties(archive.read(index).decode("latin-1"))
    except (OSError, BadZipFile, StopIteration) as error:
        raise ModelFileError(
            f"Expected a Sweet Home 3D furniture library at {path}, but it cannot be read.",
            hint="Run scripts/install_training_packages.sh.",
        ) from error
    numbers = sorted(int(key[3:]) for key in properties if re.fullmatch(r"id#\d+", key))
    return FurnitureCatalogue(
        path=path,
        version=properties.get("version", ""),
        licence_text=properties.get("license", ""),
        entries=tuple(_entry(properties, number) for number in numbers),
    )


def read_entries(path: Path) -> tuple[CatalogueEntry, ...]:
    """The entries of `read_catalogue`."""
    return read_catalogue(path).entries


def _entry(properties: dict[str, str], number: int) -> CatalogueEntry:
    identifier = properties[f"id#{number}"].rpartition("#")[2]
    rotation = properties.get(f"modelRotation#{number}", "1 0 0 0 1 0 0 0 1")
    width, depth, height = (float(properties[f"{k}#{number}"]) for k in _SIZE_KEYS)
    return CatalogueEntry(
        name=properties.get(f"name#{number}", identifier),
        creator=properties[f"creator#{number}"],
        category=properties[f"category#{number}"],
        model_path=properties[f"model#{number}"].lstrip("/"),
        size_cm=(width, depth, height),
        rotation=np.array(rotation.split(), np.float64).reshape(3, 3),
    )


_SIZE_KEYS = ("width", "depth", "height")


def parse_properties(text: str) -> dict[str, str]:
    """Keys and values of a Java `.properties` text (ISO 8859-1 with `\\uXXXX`)."""
    properties = {}
    for line in re.sub(r"\\\r?\n\s*", "", text).splitlines():
        stripped = line.strip()
        if not stripped or stripped[0] in "#!":
            continue
        key, _, value = stripped.partition("=")
        properties[key.strip()] = re.sub(
            r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), value.strip()
        )
    return properties


def load_model(archive_path: Path, entry: ModelEntry) -> TexturedModel:
    """The model of an entry: upright, +Z up, front towards -Y, scaled to its size in metres.

    Raises:
        ModelFileError: The model is missing or empty.
    """
    assert isinstance(entry, CatalogueEntry)
    with ZipFile(archive_path) as archive:
        model = read_obj(archive, entry.model_path, _builtin_materials(archive_path))
    turned = transform_model(model, entry.rotation)
    extent = turned.extent
    width, depth, height = entry.size_cm
    wanted = np.array([width, height, depth]) / 100.0
    scale = np.where(extent > 1e-6 * extent.max(), wanted / np.maximum(extent, 1e-12), 1.0)
    return transform_model(turned, _UP_FROM_CATALOGUE @ np.diag(scale))


@lru_cache(maxsize=8)
def _builtin_materials(archive_path: Path) -> dict[str, Material]:
    """Materials that the program's own models use without an MTL file; none for a library."""
    with ZipFile(archive_path) as archive:
        if PROGRAM_MATERIALS not in archive.namelist():
            return {}
        text = archive.read(PROGRAM_MATERIALS).decode("latin-1")
    return parse_mtl(text[text.index("newmtl ") :])
