# SPDX-License-Identifier: GPL-3.0-or-later
"""What stands behind and under the object in a composite: studios, walls, table tops, scenes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFilter
from scipy.ndimage import gaussian_filter

from .backgrounds import Background

Picture = NDArray[np.float32]
"""`(H, W, 3)` sRGB, 0..1."""

NUM_WOODS = 80


@dataclass(frozen=True, kw_only=True)
class Pictures:
    """The pictures that backdrops are made of, each `(H, W, 3)` uint8."""

    textures: list[NDArray[np.uint8]]
    scenes: list[NDArray[np.uint8]]
    woods: list[NDArray[np.uint8]]

    @classmethod
    def of_split(cls, backgrounds: list[Background], *, is_validation: bool) -> Pictures:
        """The validation pictures, or all others; the woods are drawn."""
        chosen = [b for b in backgrounds if b.is_validation == is_validation]
        rng = np.random.default_rng(int(is_validation))
        return cls(
            textures=[b.rgb for b in chosen if b.kind == "texture"],
            scenes=[b.rgb for b in chosen if b.kind == "scene"],
            woods=[draw_wood(rng) for _ in range(NUM_WOODS)],
        )


def draw_backdrop(pictures: Pictures, size_px: int, rng: np.random.Generator) -> Picture:
    """A random backdrop `(S, S, 3)`; half of them have a table or floor."""
    kind = rng.choice(["studio", "wall", "scene", "ground"], p=[0.2, 0.1, 0.15, 0.55])
    if kind == "studio":
        return draw_studio(size_px, rng)
    if kind == "scene":
        return draw_scene(pictures, size_px, rng)
    if kind == "wall":
        return draw_material(pictures, size_px, rng)
    return draw_ground(pictures, size_px, rng)


def draw_studio(size_px: int, rng: np.random.Generator) -> Picture:
    """A smooth gradient between two colours, linear or round; often grey or white."""
    first = _draw_color(rng)
    second = np.clip(first + rng.normal(0.0, rng.choice([0.0, 0.1, 0.3]), 3), 0.0, 1.0)
    y, x = np.mgrid[0 : 1 : size_px * 1j, 0 : 1 : size_px * 1j]
    if rng.random() < 0.5:
        angle = rng.uniform(0.0, 2.0 * np.pi)
        ramp = x * np.cos(angle) + y * np.sin(angle)
    else:
        ramp = np.hypot(x - rng.uniform(0.2, 0.8), y - rng.uniform(0.2, 0.8))
    ramp = (ramp - ramp.min()) / np.ptp(ramp)
    return (first + (second - first) * ramp[..., None]).astype(np.float32)


def draw_scene(pictures: Pictures, size_px: int, rng: np.random.Generator) -> Picture:
    """A random part of a photograph or painting, mostly out of focus."""
    picture = pictures.scenes[rng.integers(len(pictures.scenes))]
    side = int(min(picture.shape[:2]) * rng.uniform(0.4, 1.0))
    top = rng.integers(picture.shape[0] - side + 1)
    left = rng.integers(picture.shape[1] - side + 1)
    crop = Image.fromarray(picture[top : top + side, left : left + side])
    crop = crop.resize((size_px, size_px), Image.Resampling.BILINEAR)
    crop = crop.filter(ImageFilter.GaussianBlur(float(rng.choice([0.5, 2.0, 5.0]))))
    return _mirrored(np.asarray(crop, np.float32) / 255.0, rng)


def draw_material(pictures: Pictures, size_px: int, rng: np.random.Generator) -> Picture:
    """A flat material seen from the front."""
    tile = _draw_tile(pictures, rng)
    scale = tile.shape[0] / size_px * rng.uniform(0.4, 1.2)
    y, x = np.mgrid[0:size_px, 0:size_px] * scale
    return tile[y.astype(int) % tile.shape[0], x.astype(int) % tile.shape[1]]


def draw_ground(pictures: Pictures, size_px: int, rng: np.random.Generator) -> Picture:
    """A table top or floor in perspective, with its far edge and what lies beyond."""
    pitch = np.radians(rng.uniform(8.0, 85.0))
    roll = np.radians(rng.normal(0.0, 8.0))
    yaw = rng.uniform(0.0, 2.0 * np.pi)
    focal = rng.uniform(0.9, 2.5)
    samples = 2 * size_px
    v, u = np.mgrid[-0.5 : 0.5 : samples * 1j, -0.5 : 0.5 : samples * 1j].astype("f4") / focal
    u, v = u * np.cos(roll) - v * np.sin(roll), u * np.sin(roll) + v * np.cos(roll)
    fall = np.sin(pitch) + v * np.cos(pitch)
    ahead = np.cos(pitch) - v * np.sin(pitch)
    hits = fall > 0.02
    distance = np.where(hits, 1.0 / np.maximum(fall, 0.02), 50.0)
    x, y = u * distance, ahead * distance
    x, y = x * np.cos(yaw) - y * np.sin(yaw), x * np.sin(yaw) + y * np.cos(yaw)

    tile = _draw_tile(pictures, rng)
    middle = 1.0 / np.tan(pitch)
    repeats = rng.uniform(0.4, 2.0) * focal * np.sin(pitch)
    rows = (y * repeats * tile.shape[0]).astype(int) % tile.shape[0]
    columns = (x * repeats * tile.shape[1]).astype(int) % tile.shape[1]
    ground = tile[rows, columns]
    ground *= _draw_pool_of_light(x, y, middle, rng)[..., None]
    edge_angle = rng.uniform(0.0, 2.0 * np.pi)
    edge = x * np.cos(edge_angle) + y * np.sin(edge_angle)
    is_table = (hits & (edge < middle + rng.uniform(0.3, 2.5) / focal))[..., None]
    table = _halved(np.where(is_table, ground, 0.0))
    beyond = draw_beyond(pictures, size_px, rng)
    return (table + beyond * (1.0 - _halved(is_table.astype(np.float32)))).astype(np.float32)


def _halved(samples: Picture) -> Picture:
    """Means of two by two samples."""
    return (samples[::2, ::2] + samples[1::2, ::2] + samples[::2, 1::2] + samples[1::2, 1::2]) / 4.0


def draw_beyond(pictures: Pictures, size_px: int, rng: np.random.Generator) -> Picture:
    """What lies beyond the edge of a table: a wall, a room out of focus, the dark."""
    kind = rng.choice(["studio", "scene", "material", "dark"], p=[0.45, 0.25, 0.2, 0.1])
    if kind == "dark":
        return np.full((size_px, size_px, 3), rng.uniform(0.0, 0.15), np.float32)
    if kind == "material":
        return draw_material(pictures, size_px, rng)
    return draw_studio(size_px, rng) if kind == "studio" else draw_scene(pictures, size_px, rng)


def _draw_tile(pictures: Pictures, rng: np.random.Generator) -> Picture:
    """A tile of material, re-coloured half of the time; a quarter is wood."""
    chosen = pictures.woods if rng.random() < 0.25 else pictures.textures
    tile = chosen[rng.integers(len(chosen))].astype(np.float32) / 255.0
    tile = np.rot90(tile, rng.integers(4))
    if rng.random() < 0.5:
        grey = tile.mean(axis=2, keepdims=True)
        contrast = rng.uniform(0.3, 1.5)
        tile = _draw_color(rng) + contrast * (grey - grey.mean()) + 0.5 * (tile - grey)
    return np.clip(tile * rng.uniform(0.7, 1.6), 0.0, 1.0).astype(np.float32)


def draw_wood(rng: np.random.Generator, size_px: int = 256) -> NDArray[np.uint8]:
    """Planks of streaked noise between two browns."""
    streaks = np.zeros((size_px, size_px))
    for along, across, weight in ((40.0, 0.7, 1.0), (60.0, 3.0, 1.5), (20.0, 12.0, 1.0)):
        noise = rng.normal(size=(size_px, size_px))
        smooth = gaussian_filter(noise, (across, along), mode="wrap")
        streaks += weight * smooth / smooth.std()
    num_planks = int(rng.integers(1, 7))
    shade = np.repeat(rng.normal(0.0, 0.6, num_planks), -(-size_px // num_planks))[:size_px]
    streaks = streaks / streaks.std() + shade[:, None]
    gaps = (np.arange(size_px) % (size_px // num_planks)) < 2
    light = np.array([0.75, 0.52, 0.32]) * rng.uniform(0.5, 1.2) + rng.normal(0.0, 0.06, 3)
    dark = light * rng.uniform(0.3, 0.7)
    share = np.clip(0.5 + 0.25 * streaks, 0.0, 1.0)[..., None]
    wood = light * (1.0 - share) + dark * share
    if num_planks > 1:
        wood[gaps] *= rng.uniform(0.2, 1.0)
    return np.round(np.clip(wood, 0.0, 1.0) * 255.0).astype(np.uint8)


def _draw_pool_of_light(
    x: NDArray[np.float64], y: NDArray[np.float64], middle: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """Light that falls off, or shines, somewhere on the ground."""
    spot_x, spot_y = rng.normal(0.0, 0.6), middle + rng.normal(0.0, 0.6)
    squared = (x - spot_x) ** 2 + (y - spot_y) ** 2
    return 1.0 + rng.uniform(-0.6, 0.5) * np.exp(-squared / rng.uniform(0.1, 1.0))


def _draw_color(rng: np.random.Generator) -> NDArray[np.float64]:
    grey = rng.choice([1.0, rng.uniform(0.0, 1.0)], p=[0.15, 0.85])
    tint = rng.choice([0.0, 0.08, 0.3], p=[0.4, 0.3, 0.3])
    return np.clip(grey + rng.normal(0.0, 1.0, 3) * tint, 0.0, 1.0)


def _mirrored(picture: Picture, rng: np.random.Generator) -> Picture:
    return picture[:, ::-1] if rng.random() < 0.5 else picture
