# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the training views: per object one `.npz` with the method's 40 views of each rig.

A rig is one input view (random turn of the object, random elevation, random light) and the 40
viewpoints the method derives from it (`pipeline.view_schedule.method_viewpoints`), in its own
world frame, where the input camera stands at azimuth 0.
"""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..contracts.cameras import Viewpoint, c2w_from_viewpoints, method_intrinsics
from ..contracts.job_folder import atomic_write
from ..pipeline.view_schedule import method_viewpoints
from .asset_readers.textured_model import TexturedModel
from .framing import world_from_model
from .rasterizer import Lighting, Rasterizer, RenderedView

ELEVATION_RANGE_DEG = (-10.0, 60.0)
OBJECT_FRACTION_RANGE = (0.70, 0.80)
NUM_RIGS = {"train": 2, "val": 1, "near_test": 1, "far_test": 1}
MIN_INPUT_COVERAGE = 0.04
"""An input view that shows less, such as a door edge-on, is drawn again."""
NUM_SURVEY_VIEWS = 32

_MAX_DRAWS = 8


@dataclass(frozen=True, kw_only=True)
class RenderedRigs:
    """All views of one object, as stored."""

    rgb: NDArray[np.uint8]
    """`(R, V, H, W, 3)` sRGB on white."""
    mask: NDArray[np.uint8]
    """`(R, V, H, W)` coverage of the pixel, 0..255."""
    depth: NDArray[np.float16]
    """`(R, V, H, W)` along the view axis, world units; 0 = background."""
    elevation_deg: NDArray[np.float32]
    """`(R,)` of the input view; the cameras follow from `method_viewpoints`."""
    survey_depth: NDArray[np.float16]
    """`(R, 32, H, W)` like `depth`, from all around (`survey_viewpoints`): what the method's views
    do not show, above all undersides, is no part of the object for that."""
    normal: NDArray[np.int8] | None = None
    """`(R, V, H, W, 3)` unit vectors times 127, world axes, where they were asked for; 0 =
    background."""


@dataclass(frozen=True, kw_only=True)
class Rig:
    """One photograph that might have been taken."""

    elevation_deg: float
    """Of the input view."""
    world_from_model: NDArray[np.float64]
    """`(4, 4)` similarity into the rig's world, where the input camera is at azimuth 0."""
    lighting: Lighting


def object_seed_text(asset_id: str) -> str:
    """The `seed_text` that an object of the data set is rendered with.

    With another prefix all renders, and what was measured on them, would be others.
    """
    return f"0/{asset_id}"


def render_rigs(
    model: TexturedModel, rasterizer: Rasterizer, *, num_rigs: int, seed_text: str
) -> RenderedRigs:
    """Render the method's views of `num_rigs` random input views.

    Args:
        model: Upright object.
        rasterizer: Its size is the size of the views, which have normals if its views have.
        num_rigs: R.
        seed_text: Everything random follows from it.
    """
    rasterizer.set_model(model)
    points = model.points
    K = method_intrinsics(rasterizer.size_px)
    rows: list[list[RenderedView]] = []
    surveys: list[NDArray[np.float16]] = []
    elevations_deg: list[float] = []
    for rig_index in range(num_rigs):
        rig = draw_rig(points, rasterizer, rig_index=rig_index, seed_text=seed_text)
        elevations_deg.append(rig.elevation_deg)
        surveys.append(survey(rasterizer, rig))
        rows.append(
            [
                rasterizer.render(
                    c2w, K, world_from_model=rig.world_from_model, lighting=rig.lighting
                )
                for c2w in c2w_from_viewpoints(method_viewpoints(rig.elevation_deg))
            ]
        )
    normals = [[view.normal for view in row if view.normal is not None] for row in rows]
    return RenderedRigs(
        rgb=np.array([[view.rgb for view in row] for row in rows]),
        mask=np.array([[view.mask for view in row] for row in rows]),
        depth=np.array([[view.depth for view in row] for row in rows]).astype(np.float16),
        elevation_deg=np.array(elevations_deg, np.float32),
        survey_depth=np.array(surveys),
        normal=(127.0 * np.array(normals)).round().astype(np.int8) if normals[0] else None,
    )


def survey(rasterizer: Rasterizer, rig: Rig) -> NDArray[np.float16]:
    """`(32, H, W)` depth maps of the model that the rasterizer holds, as it stands in the rig."""
    K = method_intrinsics(rasterizer.size_px)
    cameras = c2w_from_viewpoints(survey_viewpoints(NUM_SURVEY_VIEWS))
    views = [rasterizer.render(c2w, K, world_from_model=rig.world_from_model) for c2w in cameras]
    return np.array([view.depth for view in views]).astype(np.float16)


def survey_viewpoints(count: int) -> list[Viewpoint]:
    """Cameras spread evenly over the whole sphere (a Fibonacci lattice), poles included."""
    height = 1.0 - (2.0 * np.arange(count) + 1.0) / count
    azimuth_deg = np.degrees(np.arange(count) * np.pi * (3.0 - np.sqrt(5.0)))
    return [
        Viewpoint(name=f"survey_{i}", azimuth_deg=azimuth_deg[i], elevation_deg=elevation_deg)
        for i, elevation_deg in enumerate(np.degrees(np.arcsin(height)))
    ]


def draw_rig(
    points: NDArray[np.float32], rasterizer: Rasterizer, *, rig_index: int, seed_text: str
) -> Rig:
    """A rig whose input view shows enough of the object; the same one for the same arguments.

    Args:
        points: `(N, 3)` of the model that the rasterizer holds, model frame.
        rasterizer: Draws trial input views.
        rig_index: Which of the object's rigs.
        seed_text: As in `render_rigs`.
    """
    digest = hashlib.sha256(f"{seed_text}/{rig_index}".encode()).digest()
    rng = np.random.default_rng(int.from_bytes(digest[:8], "little"))
    K = method_intrinsics(rasterizer.size_px)
    best: tuple[float, float, NDArray[np.float64]] | None = None
    for _ in range(_MAX_DRAWS):
        elevation_deg = float(np.float32(rng.uniform(*ELEVATION_RANGE_DEG)))
        similarity = world_from_model(
            points,
            yaw_deg=rng.uniform(0.0, 360.0),
            elevation_deg=elevation_deg,
            object_fraction=rng.uniform(*OBJECT_FRACTION_RANGE),
        )
        input_c2w = c2w_from_viewpoints(method_viewpoints(elevation_deg)[:1])[0]
        view = rasterizer.render(input_c2w, K, world_from_model=similarity)
        coverage = float(view.mask.mean()) / 255.0
        if best is None or coverage > best[0]:
            best = (coverage, elevation_deg, similarity)
        if coverage >= MIN_INPUT_COVERAGE:
            break
    assert best is not None
    return Rig(elevation_deg=best[1], world_from_model=best[2], lighting=_draw_lighting(rng))


def _draw_lighting(rng: np.random.Generator) -> Lighting:
    """A key light from above with a warm or cool tint, a weaker fill, an ambient term."""
    azimuth, height = rng.uniform(0.0, 2.0 * np.pi), np.radians(rng.uniform(25.0, 75.0))
    direction = (np.cos(azimuth) * np.cos(height), np.sin(azimuth) * np.cos(height), np.sin(height))
    warmth = rng.uniform(-0.07, 0.07)
    tint = np.array([1.0 + warmth, 1.0, 1.0 - warmth])
    key, fill, ambient = rng.uniform(0.45, 0.7), rng.uniform(0.05, 0.2), rng.uniform(0.35, 0.5)
    return Lighting(
        key_direction=_triple(np.array(direction)),
        key_color=_triple(key * tint),
        fill_color=_triple(np.full(3, fill)),
        ambient_color=_triple(np.full(3, ambient)),
    )


def _triple(values: NDArray[np.floating]) -> tuple[float, float, float]:
    return float(values[0]), float(values[1]), float(values[2])


def save_rigs(rigs: RenderedRigs, path: Path) -> None:
    """Write `<asset_id>.npz`, uncompressed, whole or not at all."""
    arrays = {name: array for name, array in vars(rigs).items() if array is not None}
    with atomic_write(path) as file:
        np.savez(file, **arrays)


def load_rigs(path: Path) -> RenderedRigs:
    """Read what `save_rigs` wrote."""
    with np.load(path, allow_pickle=False) as data:
        return RenderedRigs(**data)


def rendered_size_px(folder: Path) -> int | None:
    """Side of the views in a folder of renders; None while it holds none."""
    path = next(folder.glob("*.npz"), None)
    if path is None:
        return None
    with np.load(path, allow_pickle=False) as data:
        return int(data["mask"].shape[-1])


def is_rendered(path: Path) -> bool:
    """Whether a complete file is already there, with all that is rendered today."""
    if not (path.is_file() and zipfile.is_zipfile(path)):
        return False
    with zipfile.ZipFile(path) as arrays:
        return "survey_depth.npy" in arrays.namelist()
