# SPDX-License-Identifier: GPL-3.0-or-later
"""Look at every model of the libraries and decide which are used, and for what."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.measure import label

from ..contracts.cameras import Viewpoint, c2w_from_viewpoints, method_intrinsics
from .asset_readers.model_entry import ModelEntry
from .asset_readers.obj_model import ModelFileError
from .asset_readers.textured_model import TexturedModel, shape_hash
from .framing import world_from_model
from .libraries import Library
from .manifest import Asset, DroppedAsset, Manifest
from .model_readers import load_model, read_entries
from .rasterizer import Rasterizer

NUM_VALIDATION_ASSETS = 40
"""Or half of those that may be, if that is less."""
MIN_COVERAGE = 0.04
"""Mean share of the frame that a framed model covers in level views; less is scattered or wiry."""
MIN_THICKNESS = 0.03
"""Smallest over largest side of the bounding box; less is a sheet, a decal or a pole."""
MIN_COHERENCE = 0.8
"""Of models from libraries with scattered props: share of the outline in its largest part."""
MIN_TRIANGLES = 4
"""Fewer enclose nothing: places for other things."""

_COVERAGE_ELEVATION_DEG = 20.0
_NUM_COVERAGE_VIEWS = 8


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A library's entry before anybody looked at its model."""

    asset_id: str
    library: Library
    entry: ModelEntry


@dataclass(frozen=True, kw_only=True)
class Inspection:
    """What the selection needs to know about a model."""

    shape_hash: str
    thickness: float
    """Smallest over largest side of the bounding box."""
    coverage: float
    """Mean share of the frame in level views."""
    coherence: float
    """Mean share of the outline that hangs together, in the same views."""
    num_triangles: int


def list_candidates(packages_dir: Path, libraries: Sequence[Library]) -> list[Candidate]:
    """Every entry of the libraries, in their order.

    Raises:
        ModelFileError: A library is not in `packages_dir`.
    """
    return [
        Candidate(asset_id=f"{library.key}_{entry.slug}", library=library, entry=entry)
        for library in libraries
        for entry in read_entries(library, packages_dir)
    ]


def inspect_candidate(
    candidate: Candidate, packages_dir: Path, rasterizer: Rasterizer
) -> Inspection | str:
    """Load a model and measure it; a sentence instead if it cannot be read."""
    try:
        model = load_model(candidate.library, candidate.entry, packages_dir)
    except ModelFileError as error:
        return error.message
    points = model.points
    extent = points.max(0) - points.min(0)
    thickness = float(extent.min() / extent.max())
    coverage, coherence = (
        measure_outline(model, rasterizer) if thickness >= MIN_THICKNESS else (0.0, 0.0)
    )
    return Inspection(
        shape_hash=shape_hash(points),
        thickness=thickness,
        coverage=coverage,
        coherence=coherence,
        num_triangles=model.num_triangles,
    )


def measure_outline(model: TexturedModel, rasterizer: Rasterizer) -> tuple[float, float]:
    """Of the framed model seen from all sides: the mean share of the frame that it covers, and the
    mean share of its outline that is in the largest connected part."""
    rasterizer.set_model(model)
    similarity = world_from_model(
        model.points, yaw_deg=0.0, elevation_deg=_COVERAGE_ELEVATION_DEG, object_fraction=0.75
    )
    views = [
        Viewpoint(
            name=str(i),
            azimuth_deg=360.0 * i / _NUM_COVERAGE_VIEWS,
            elevation_deg=_COVERAGE_ELEVATION_DEG,
        )
        for i in range(_NUM_COVERAGE_VIEWS)
    ]
    K = method_intrinsics(rasterizer.size_px)
    masks = [
        rasterizer.render(c2w, K, world_from_model=similarity).mask
        for c2w in c2w_from_viewpoints(views)
    ]
    return float(np.mean(masks) / 255.0), float(np.mean([_largest_part(m > 0) for m in masks]))


def _largest_part(mask: NDArray[np.bool_]) -> float:
    """Share of the mask in its largest connected part; 0 of an empty one."""
    areas = np.bincount(label(mask, connectivity=2).ravel(), minlength=2)[1:]
    return float(areas.max() / max(areas.sum(), 1))


def select_assets(inspected: Iterable[tuple[Candidate, Inspection | str]]) -> Manifest:
    """Keep what can be trained on, say why the rest cannot, and split by object.

    The validation objects are those with the smallest hash of their identifier, so that the split
    depends on nothing but the names, and only those of libraries that give any. Models of a test
    library are never trained on.
    """
    kept: list[Candidate] = []
    dropped: list[DroppedAsset] = []
    seen_shapes: dict[str, str] = {}
    seen_ids: set[str] = set()
    libraries: list[Library] = []
    for candidate, inspection in inspected:
        libraries.append(candidate.library)
        reason = _reason_to_drop(candidate.library, inspection, seen_shapes)
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
    eligible = [
        c.asset_id for c in kept if c.library.test_split is None and c.library.gives_validation
    ]
    by_hash = sorted(eligible, key=lambda asset_id: hashlib.sha256(asset_id.encode()).digest())
    validation = set(by_hash[: min(NUM_VALIDATION_ASSETS, len(by_hash) // 2)])
    return Manifest(
        libraries=tuple(dict.fromkeys(libraries)),
        assets=tuple(_asset(candidate, validation) for candidate in kept),
        dropped=tuple(dropped),
    )


def _reason_to_drop(
    library: Library, inspection: Inspection | str, seen_shapes: dict[str, str]
) -> str | None:
    if isinstance(inspection, str):
        return inspection
    if inspection.num_triangles < MIN_TRIANGLES:
        return f"{inspection.num_triangles} triangles"
    if inspection.thickness < MIN_THICKNESS:
        return f"flat: thickness {inspection.thickness:.3f} of its length"
    if inspection.coverage < MIN_COVERAGE:
        return f"covers {100 * inspection.coverage:.1f} % of the frame"
    if library.has_scattered_props and inspection.coherence < MIN_COHERENCE:
        return f"scattered: {100 * inspection.coherence:.0f} % of its outline hangs together"
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
        split=candidate.library.test_split or split,
    )
