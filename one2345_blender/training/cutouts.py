# SPDX-License-Identifier: GPL-3.0-or-later
"""Sharp renders of the training models with alpha, for the segmenter's composites.

The view synthesis trains on 128-pixel renders; a photograph shows an object sharper than that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..contracts.cameras import Viewpoint, c2w_from_viewpoints, method_intrinsics
from ..contracts.job_folder import atomic_write
from .framing import world_from_model
from .manifest import Asset, Manifest
from .model_readers import find_entries, load_model
from .rasterizer import Lighting, Rasterizer

CUTOUT_SIZE_PX = 224
NUM_VIEWS = {"train": 4, "val": 2}
ELEVATION_RANGE_DEG = (-5.0, 75.0)
MIN_COVERAGE = 0.06


def render_cutouts(
    assets: Sequence[Asset], manifest: Manifest, packages_dir: Path, output_dir: Path
) -> None:
    """Write `<asset_id>.npz` with `rgba (N, S, S, 4)` for every asset that has none yet.

    Raises:
        ModelFileError: A library or a model is missing.
        EnvironmentMissingError: OpenGL is missing.
    """
    missing = [a for a in assets if not (output_dir / f"{a.asset_id}.npz").exists()]
    if not missing:
        return
    with Rasterizer(CUTOUT_SIZE_PX) as rasterizer:
        for asset, library, entry in find_entries(missing, manifest, packages_dir):
            model = load_model(library, entry, packages_dir)
            rasterizer.set_model(model)
            digest = hashlib.sha256(asset.asset_id.encode()).digest()
            rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
            views = [
                _render_view(rasterizer, model.points, rng) for _ in range(NUM_VIEWS[asset.split])
            ]
            with atomic_write(output_dir / f"{asset.asset_id}.npz") as file:
                np.savez(file, rgba=np.array(views))


def load_cutouts(assets: list[Asset], folder: Path) -> list[NDArray[np.uint8]]:
    """All views that show enough of their object, each cropped to it, `(h, w, 4)`."""
    cutouts: list[NDArray[np.uint8]] = []
    for asset in assets:
        with np.load(folder / f"{asset.asset_id}.npz", allow_pickle=False) as data:
            views = data["rgba"]
        for view in views:
            covered = view[..., 3] > 127
            if covered.mean() >= MIN_COVERAGE:
                rows, columns = np.flatnonzero(covered.any(1)), np.flatnonzero(covered.any(0))
                crop = view[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
                cutouts.append(np.ascontiguousarray(crop))
    return cutouts


def _render_view(
    rasterizer: Rasterizer, points: NDArray[np.float32], rng: np.random.Generator
) -> NDArray[np.uint8]:
    elevation_deg = rng.uniform(*ELEVATION_RANGE_DEG)
    similarity = world_from_model(
        points, yaw_deg=rng.uniform(0.0, 360.0), elevation_deg=elevation_deg, object_fraction=0.95
    )
    viewpoint = Viewpoint(name="input", azimuth_deg=0.0, elevation_deg=elevation_deg)
    view = rasterizer.render(
        c2w_from_viewpoints([viewpoint])[0],
        method_intrinsics(CUTOUT_SIZE_PX),
        world_from_model=similarity,
        lighting=_strong_lighting(rng),
    )
    return rgba_from_render(view.rgb, view.mask)


def rgba_from_render(rgb: NDArray[np.uint8], mask: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(S, S, 4)` with straight alpha from a render on white and its coverage 0..255."""
    alpha = mask[..., None] / 255.0
    on_black = rgb - 255.0 * (1.0 - alpha)
    straight = np.clip(on_black / np.maximum(alpha, 1e-3), 0.0, 255.0)
    return np.dstack([straight.round().astype(np.uint8), mask])


def _strong_lighting(rng: np.random.Generator) -> Lighting:
    """Wider ranges than the view synthesis has: dim rooms, hard sun, coloured bulbs."""
    azimuth, height = rng.uniform(0.0, 2.0 * np.pi), np.radians(rng.uniform(15.0, 85.0))
    tint = rng.uniform(0.85, 1.15, 3)
    ambient = rng.uniform(0.15, 0.6)
    return Lighting(
        key_direction=(
            float(np.cos(azimuth) * np.cos(height)),
            float(np.sin(azimuth) * np.cos(height)),
            float(np.sin(height)),
        ),
        key_color=_triple(rng.uniform(0.3, 1.1) * tint),
        fill_color=_triple(rng.uniform(0.0, 0.3) * tint[::-1]),
        ambient_color=_triple(ambient * rng.uniform(0.9, 1.1, 3)),
    )


def _triple(values: NDArray[np.floating]) -> tuple[float, float, float]:
    red, green, blue = (float(value) for value in values)
    return red, green, blue
