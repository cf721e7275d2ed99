# SPDX-License-Identifier: GPL-3.0-or-later
"""Which 3D models the embedded weights are trained on, by whom, under which licence.

The answer is data: `manifest.json` lists every model that is used, its library (with licence and
source) and its split, and every model that was left out with the reason.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from ..contracts.errors import One2345Error
from ..contracts.job_folder import atomic_write
from .libraries import Library

MANIFEST_FORMAT = 1
SPLITS = ("train", "val", "near_test", "far_test")


class ManifestError(One2345Error):
    """The list of training models is missing or damaged."""

    code = "manifest"


@dataclass(frozen=True, kw_only=True)
class Asset:
    """One model that is used."""

    asset_id: str
    """Unique; a file name on every system."""
    name: str
    author: str
    library: str
    """Key of its `Library`."""
    model: str
    """Path inside the library."""
    category: str
    split: str
    """One of `SPLITS`."""


@dataclass(frozen=True, kw_only=True)
class DroppedAsset:
    """One model that is left out."""

    asset_id: str
    library: str
    reason: str


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """All models of all libraries."""

    libraries: tuple[Library, ...]
    """Those of all models below."""
    assets: tuple[Asset, ...]
    dropped: tuple[DroppedAsset, ...]

    def ids(self, split: str) -> list[str]:
        """Identifiers of the models of a split."""
        return [asset.asset_id for asset in self.assets if asset.split == split]


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write `manifest.json`: one line per model, so that changes can be read."""
    sections = {
        "libraries": [asdict(library) for library in manifest.libraries],
        "assets": [asdict(asset) for asset in manifest.assets],
        "dropped": [asdict(asset) for asset in manifest.dropped],
    }
    lines = [f'{{"format": {MANIFEST_FORMAT}']
    for title, rows in sections.items():
        body = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        lines.append(f'"{title}": [\n{body}\n]')
    with atomic_write(path) as file:
        file.write((",\n".join(lines) + "}\n").encode())


def read_manifest(path: Path) -> Manifest:
    """Read what `write_manifest` wrote.

    Raises:
        ManifestError: The file is missing or of another format.
    """
    hint = "Run `python -m one2345_blender.training assets`."
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        if data["format"] != MANIFEST_FORMAT:
            raise ManifestError(
                f"Expected a manifest of format {MANIFEST_FORMAT}, got {data['format']}: {path}.",
                hint=hint,
            )
        return Manifest(
            libraries=tuple(Library(**row) for row in data["libraries"]),
            assets=tuple(Asset(**row) for row in data["assets"]),
            dropped=tuple(DroppedAsset(**row) for row in data["dropped"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"Expected a list of models at {path}: {error}.", hint=hint) from error
