# SPDX-License-Identifier: GPL-3.0-or-later
"""Which 3D models the embedded weights are trained on, by whom, under which licence.

The answer is data: `manifest.json` lists every model that is used, its library (with licence and
source) and its split, and every model that was left out with the reason.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np

from ..contracts.cameras import Viewpoint, c2w_from_viewpoints, method_intrinsics
from ..contracts.errors import One2345Error
from ..contracts.job_folder import atomic_write
from .asset_readers.furniture_catalogue import CatalogueEntry, load_furniture, read_catalogue
from .asset_readers.obj_model import ModelFileError
from .asset_readers.textured_model import TexturedModel, shape_hash
from .framing import world_from_model
from .libraries import LIBRARIES, Library
from .rasterizer import Rasterizer

MANIFEST_FORMAT = 1
SPLITS = ("train", "val", "near_test")
NUM_VALIDATION_ASSETS = 40
MIN_COVERAGE = 0.04
"""Mean share of the frame that a framed model covers in level views; less is scattered or wiry."""
MIN_THICKNESS = 0.03
"""Smallest over largest side of the bounding box; less is a sheet, a decal or a pole."""

_COVERAGE_ELEVATION_DEG = 20.0
_NUM_COVERAGE_VIEWS = 8


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

    assets: tuple[Asset, ...]
    dropped: tuple[DroppedAsset, ...]

    def ids(self, split: str) -> list[str]:
        """Identifiers of the models of a split."""
        return [asset.asset_id for asset in self.assets if asset.split == split]


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A catalogue entry before anybody looked at its model."""

    asset_id: str
    library: Library
    entry: CatalogueEntry


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the selection needs to know about a model."""

    shape_hash: str
    thickness: float
    """Smallest over largest side of the bounding box."""
    coverage: float
    """Mean share of the frame in level views."""


def list_candidates(
    packages_dir: Path, libraries: Sequence[Library] = LIBRARIES
) -> list[Candidate]:
    """Every entry of the libraries, in catalogue order.

    Raises:
        ModelFileError: A library is not in `packages_dir`.
    """
    return [
        Candidate(asset_id=_asset_id(library, entry), library=library, entry=entry)
        for library in libraries
        for entry in read_catalogue(packages_dir / library.file_name).entries
    ]


def _asset_id(library: Library, entry: CatalogueEntry) -> str:
    stem = re.sub(r"[^a-z0-9]+", "-", PurePosixPath(entry.model_path).stem.lower()).strip("-")
    return f"{library.key}_{stem}"


def inspect_candidate(
    candidate: Candidate, packages_dir: Path, rasterizer: Rasterizer
) -> Inspection | str:
    """Load a model and measure it; a sentence instead if it cannot be read."""
    try:
        model = load_furniture(packages_dir / candidate.library.file_name, candidate.entry)
    except ModelFileError as error:
        return error.message
    points = model.points
    extent = points.max(0) - points.min(0)
    thickness = float(extent.min() / extent.max())
    return Inspection(
        shape_hash=shape_hash(points),
        thickness=thickness,
        coverage=measure_coverage(model, rasterizer) if thickness >= MIN_THICKNESS else 0.0,
    )


def measure_coverage(model: TexturedModel, rasterizer: Rasterizer) -> float:
    """Mean share of the frame that the framed model covers, seen from all sides."""
    rasterizer.set_model(model)
    similarity = world_from_model(
        model.points, yaw_deg=0.0, elevation_deg=_COVERAGE_ELEVATION_DEG, object_fraction=0.75
    )
    views = [
        Viewpoint(name=str(i), azimuth_deg=360.0 * i / _NUM_COVERAGE_VIEWS, elevation_deg=20.0)
        for i in range(_NUM_COVERAGE_VIEWS)
    ]
    K = method_intrinsics(rasterizer.size_px)
    masks = [
        rasterizer.render(c2w, K, world_from_model=similarity).mask
        for c2w in c2w_from_viewpoints(views)
    ]
    return float(np.mean(masks) / 255.0)


def select_assets(inspected: Iterable[tuple[Candidate, Inspection | str]]) -> Manifest:
    """Keep what can be trained on, say why the rest cannot, and split by object.

    The validation objects are those with the smallest hash of their identifier, so that the split
    depends on nothing but the names. Models of an evaluation library are never trained on.
    """
    kept: list[Candidate] = []
    dropped: list[DroppedAsset] = []
    seen_shapes: dict[str, str] = {}
    seen_ids: set[str] = set()
    for candidate, inspection in inspected:
        reason = _reason_to_drop(inspection, seen_shapes)
        if reason is None and candidate.asset_id in seen_ids:
            reason = "second entry of the same model file"
        if reason is not None:
            dropped.append(
                DroppedAsset(
                    asset_id=candidate.asset_id, library=candidate.library.key, reason=reason
                )
            )
            continue
        assert isinstance(inspection, Inspection)
        seen_shapes[inspection.shape_hash] = candidate.asset_id
        seen_ids.add(candidate.asset_id)
        kept.append(candidate)
    trainable = [c.asset_id for c in kept if not c.library.evaluation_only]
    by_hash = sorted(trainable, key=lambda asset_id: hashlib.sha256(asset_id.encode()).digest())
    validation = set(by_hash[:NUM_VALIDATION_ASSETS])
    return Manifest(
        assets=tuple(_asset(candidate, validation) for candidate in kept),
        dropped=tuple(dropped),
    )


def _reason_to_drop(inspection: Inspection | str, seen_shapes: dict[str, str]) -> str | None:
    if isinstance(inspection, str):
        return inspection
    if inspection.thickness < MIN_THICKNESS:
        return f"flat: thickness {inspection.thickness:.3f} of its length"
    if inspection.coverage < MIN_COVERAGE:
        return f"covers {100 * inspection.coverage:.1f} % of the frame"
    if inspection.shape_hash in seen_shapes:
        return f"same shape as {seen_shapes[inspection.shape_hash]}"
    return None


def _asset(candidate: Candidate, validation: set[str]) -> Asset:
    split = "val" if candidate.asset_id in validation else "train"
    return Asset(
        asset_id=candidate.asset_id,
        name=candidate.entry.name,
        author=candidate.entry.creator,
        library=candidate.library.key,
        model=candidate.entry.model_path,
        category=candidate.entry.category,
        split="near_test" if candidate.library.evaluation_only else split,
    )


def write_manifest(manifest: Manifest, path: Path) -> None:
    """Write `manifest.json`: one line per model, so that changes can be read."""
    sections = {
        "libraries": [asdict(library) for library in LIBRARIES],
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
            assets=tuple(Asset(**row) for row in data["assets"]),
            dropped=tuple(DroppedAsset(**row) for row in data["dropped"]),
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ManifestError(f"Expected a list of models at {path}: {error}.", hint=hint) from error
