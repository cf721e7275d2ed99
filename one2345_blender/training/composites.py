# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures with a known mask: a rendered object put before a backdrop, as a camera would see it."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.ndimage import affine_transform, gaussian_filter

from .backdrops import Picture, Pictures, draw_backdrop

Layer = NDArray[np.float32]
"""`(S, S, 4)` sRGB and alpha, 0..1, colours not premultiplied."""

OBJECT_SIDE_RANGE = (0.35, 1.0)
"""Longer side of the object's box over the side of the picture."""


def draw_composite(
    cutouts: Sequence[NDArray[np.uint8]], pictures: Pictures, size_px: int, rng: np.random.Generator
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """One training sample.

    Args:
        cutouts: Objects `(h, w, 4)` uint8.
        pictures: For the backdrop.
        size_px: S.
        rng: Everything random comes from it.

    Returns:
        Picture `(S, S, 3)` and mask `(S, S)`, 0..255.
    """
    canvas = draw_backdrop(pictures, size_px, rng)
    if rng.random() < 0.12:
        canvas = _add_bystander(canvas, cutouts, rng)
    layer = place_cutout(_choose(cutouts, rng), size_px, OBJECT_SIDE_RANGE, rng)
    layer[..., :3] = recolor(layer[..., :3], rng)
    if rng.random() < 0.15:
        layer = add_companion(layer, _choose(cutouts, rng), rng)
    if rng.random() < 0.15:
        layer = add_plate(layer, rng)
    if rng.random() < 0.4:
        layer[..., :3] = add_highlights(layer, rng)
    if rng.random() < 0.65:
        canvas = cast_shadow(canvas, layer[..., 3], rng)
    if rng.random() < 0.15:
        canvas = add_reflection(canvas, layer, rng)
    if rng.random() < 0.5:
        layer[..., :3] = _match_light(layer[..., :3], canvas, rng)
    alpha = layer[..., 3:]
    scene = np.add(layer[..., :3] * alpha, canvas * (1.0 - alpha), dtype=np.float32)
    photo = photograph(scene, rng)
    return photo, np.round(layer[..., 3] * 255.0).astype(np.uint8)


def place_cutout(
    cutout: NDArray[np.uint8],
    size_px: int,
    side_range: tuple[float, float],
    rng: np.random.Generator,
) -> Layer:
    """Scale, turn and shift an object so that (nearly always) all of it lies in the frame."""
    picture = Image.fromarray(cutout[:, ::-1] if rng.random() < 0.5 else cutout)
    side_px = rng.uniform(*side_range) * size_px
    scale = side_px / max(picture.size)
    stretch = np.exp(rng.normal(0.0, 0.12))
    width = max(2, round(picture.width * scale * stretch))
    height = max(2, round(picture.height * scale / stretch))
    picture = picture.resize((width, height), Image.Resampling.LANCZOS)
    if rng.random() < 0.4:
        picture = picture.rotate(
            rng.normal(0.0, 12.0), resample=Image.Resampling.BICUBIC, expand=True
        )
    slack_x, slack_y = size_px - picture.width, size_px - picture.height
    left = slack_x // 2 + rng.normal(0.0, 0.2) * abs(slack_x)
    top = slack_y // 2 + rng.normal(0.0, 0.2) * abs(slack_y)
    if rng.random() < 0.85:
        left = np.clip(left, min(0, slack_x), max(0, slack_x))
        top = np.clip(top, min(0, slack_y), max(0, slack_y))
    canvas = Image.new("RGBA", (size_px, size_px))
    canvas.paste(picture, (round(left), round(top)))
    return np.array(canvas, np.float32) / 255.0


def recolor(rgb: Picture, rng: np.random.Generator) -> Picture:
    """Another paint: hue turned about the grey axis, saturation, contrast and gamma changed."""
    if rng.random() < 0.3:
        rgb = rgb[..., rng.permutation(3)]
    grey = rgb.mean(axis=2, keepdims=True)
    rgb = grey + (rgb - grey) * rng.uniform(0.3, 1.6)
    if rng.random() < 0.3:
        rgb = rgb * rng.uniform(0.4, 1.3, 3)
    rgb = np.clip(rgb, 1e-3, 1.0) ** np.exp(rng.normal(0.0, 0.3))
    return np.clip(rgb * rng.uniform(0.7, 1.3), 0.0, 1.0).astype(np.float32)


def add_companion(layer: Layer, cutout: NDArray[np.uint8], rng: np.random.Generator) -> Layer:
    """Join a second thing to the object, overlapping it: flowers to a vase, a lid to a pot."""
    size_px = layer.shape[0]
    inside = np.argwhere(layer[..., 3] > 0.5)
    if not len(inside):
        return layer
    companion = place_cutout(cutout, size_px, (0.25, 0.6), rng)
    companion[..., :3] = recolor(companion[..., :3], rng)
    covered = np.argwhere(companion[..., 3] > 0.5)
    if not len(covered):
        return layer
    shift = inside[rng.integers(len(inside))] - covered[rng.integers(len(covered))]
    moved = np.zeros_like(companion)
    (top, left), (height, width) = shift, companion.shape[:2]
    moved[max(0, top) : height + top, max(0, left) : width + left] = companion[
        max(0, -top) : height - top, max(0, -left) : width - left
    ]
    return _over(layer, moved) if rng.random() < 0.5 else _over(moved, layer)


def _over(front: Layer, back: Layer) -> Layer:
    alpha, beneath = front[..., 3:], back[..., 3:] * (1.0 - front[..., 3:])
    total = alpha + beneath
    rgb = (front[..., :3] * alpha + back[..., :3] * beneath) / np.maximum(total, 1e-4)
    return np.concatenate([rgb, total], axis=2).astype(np.float32)


def add_plate(layer: Layer, rng: np.random.Generator) -> Layer:
    """Put a plate or saucer under the object; it belongs to the object."""
    rows, columns = np.nonzero(layer[..., 3] > 0.5)
    if not len(rows):
        return layer
    size_px = layer.shape[0]
    squash = rng.uniform(0.25, 0.9)
    radius = 0.5 * np.ptp(columns) * rng.uniform(0.8, 1.3)
    center_x = columns.mean() + rng.normal(0.0, 0.1) * radius
    center_y = rows.max() - radius * squash * rng.uniform(0.3, 0.9)
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32)
    reach = np.hypot((x - center_x) / radius, (y - center_y) / (radius * squash))
    covered = np.clip((1.0 - reach) * radius * min(squash, 0.6), 0.0, 1.0)
    if rng.random() < 0.6:
        color = np.median(layer[layer[..., 3] > 0.5][:, :3], axis=0)
    else:
        color = rng.uniform(0.1, 1.0, 3)
    shade = 1.0 - 0.25 * np.exp(-(((reach - rng.uniform(0.5, 0.8)) / 0.05) ** 2))
    shade = shade + rng.uniform(-0.3, 0.3) * (x - center_x) / radius
    shadow = gaussian_filter(np.roll(layer[..., 3], 2, axis=0), 0.08 * radius)
    plate = np.clip(color * (shade * (1.0 - 0.4 * shadow))[..., None], 0.0, 1.0)
    return _over(layer, np.dstack([plate, covered]))


def add_highlights(layer: Layer, rng: np.random.Generator) -> Picture:
    """Gloss: a few bright, sharp-edged blobs, as lamps and windows leave on glaze and metal."""
    size_px = layer.shape[0]
    y, x = np.mgrid[0:size_px, 0:size_px].astype(np.float32)
    inside = np.argwhere(layer[..., 3] > 0.5)
    rgb = layer[..., :3].copy()
    if not len(inside):
        return rgb
    for _ in range(rng.integers(1, 5)):
        center_y, center_x = inside[rng.integers(len(inside))]
        angle, length, width = rng.uniform(0, np.pi), rng.uniform(2, 16), rng.uniform(1, 4)
        along = (x - center_x) * np.cos(angle) + (y - center_y) * np.sin(angle)
        across = (y - center_y) * np.cos(angle) - (x - center_x) * np.sin(angle)
        bump = 1.5 - ((along / length) ** 2 + (across / width) ** 2)
        share = np.clip(bump * rng.uniform(0.8, 3.0), 0.0, 1.0) * rng.uniform(0.3, 1.0)
        rgb += (1.0 - rgb) * share[..., None]
    return rgb


def cast_shadow(canvas: Picture, alpha: NDArray[np.float32], rng: np.random.Generator) -> Picture:
    """Darken the backdrop by the object's sheared, squashed and blurred silhouette."""
    rows = np.flatnonzero(alpha.max(axis=1) > 0.5)
    if not len(rows):
        return canvas
    foot = float(rows[-1])
    squash, shear = rng.uniform(0.15, 0.9), rng.normal(0.0, 0.6)
    matrix = np.array([[1.0 / squash, 0.0], [shear / squash, 1.0]])
    offset = np.array([foot - foot / squash, -shear * foot / squash])
    silhouette = affine_transform(alpha, matrix, offset, order=1)
    silhouette = np.roll(silhouette, rng.integers(-2, 4), axis=0)
    soft = gaussian_filter(silhouette, rng.uniform(0.8, 8.0))
    contact = gaussian_filter(np.roll(alpha, 2, axis=0), rng.uniform(1.0, 3.0))
    dark = rng.uniform(0.0, 0.75) * soft + rng.uniform(0.0, 0.4) * contact
    return canvas * (1.0 - np.clip(dark, 0.0, 0.9))[..., None]


def add_reflection(canvas: Picture, layer: Layer, rng: np.random.Generator) -> Picture:
    """A faint mirror image below the object, as on a polished table."""
    rows = np.flatnonzero(layer[..., 3].max(axis=1) > 0.5)
    if not len(rows):
        return canvas
    source_rows = 2 * int(rows[-1]) - np.arange(layer.shape[0])
    valid = (source_rows >= 0) & (source_rows < layer.shape[0])
    mirrored = np.where(valid[:, None, None], layer[np.clip(source_rows, 0, len(layer) - 1)], 0.0)
    share = mirrored[..., 3:] * rng.uniform(0.05, 0.35)
    return canvas * (1.0 - share) + gaussian_filter(mirrored[..., :3], (1, 1, 0)) * share


def photograph(rgb: Picture, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Exposure, white balance, lens blur, sensor noise and JPEG."""
    rgb = rgb * rng.uniform(0.7, 1.25) * (1.0 + rng.normal(0.0, 0.07, 3))
    rgb = np.clip(rgb, 1e-4, 1.0) ** np.exp(rng.normal(0.0, 0.15))
    if rng.random() < 0.4:
        rgb = gaussian_filter(rgb, (*[rng.uniform(0.3, 1.1)] * 2, 0.0))
    if rng.random() < 0.5:
        rgb = rgb + rng.normal(0.0, rng.uniform(0.0, 0.04), rgb.shape)
    photo = np.round(np.clip(rgb, 0.0, 1.0) * 255.0).astype(np.uint8)
    if rng.random() < 0.4:
        file = io.BytesIO()
        Image.fromarray(photo).save(file, "JPEG", quality=int(rng.integers(35, 95)))
        photo = np.asarray(Image.open(file))
    return photo


def _match_light(rgb: Picture, canvas: Picture, rng: np.random.Generator) -> Picture:
    """Tint the object towards the colour of its surroundings, as shared light does."""
    ambience = canvas.mean(axis=(0, 1))
    tint = ambience / max(float(ambience.mean()), 0.05)
    return np.clip(rgb * (1.0 + rng.uniform(0.0, 0.7) * (tint - 1.0)), 0.0, 1.0)


def _add_bystander(
    canvas: Picture, cutouts: Sequence[NDArray[np.uint8]], rng: np.random.Generator
) -> Picture:
    """Another object, out of focus and cut by the frame: background."""
    size_px = canvas.shape[0]
    layer = place_cutout(_choose(cutouts, rng), size_px, (0.3, 0.6), rng)
    shift = rng.choice([-1, 1]) * int(size_px * rng.uniform(0.35, 0.5))
    layer = np.roll(layer, shift, axis=1)
    keep = slice(None, size_px // 3) if shift < 0 else slice(-size_px // 3, None)
    alpha = np.zeros_like(layer[..., 3:])
    alpha[:, keep] = layer[:, keep, 3:]
    premultiplied = gaussian_filter(layer[..., :3] * alpha, (2, 2, 0))
    return canvas * (1.0 - gaussian_filter(alpha, (2, 2, 0))) + premultiplied


def _choose(cutouts: Sequence[NDArray[np.uint8]], rng: np.random.Generator) -> NDArray[np.uint8]:
    return cutouts[rng.integers(len(cutouts))]
