# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered rigs in memory, and the pairs of views that Zero123 learns from."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from ..contracts.errors import OptionError
from ..pipeline.view_schedule import (
    NEAR_OFFSETS,
    NUM_LEVEL_VIEWS,
    NUM_STAGE1_VIEWS,
    method_viewpoints,
)
from .recolouring import random_blur, random_colours
from .renders import rendered_size_px

NUM_VIEWS = NUM_STAGE1_VIEWS * (1 + len(NEAR_OFFSETS))
METHOD_PAIRS = {"stage1": 0.6, "near": 0.4}
"""How often each kind of pair is drawn: those that the method asks for."""
ANY_PAIRS = {"any": 1.0}
"""All between two views of a rig, as in the original."""


@dataclass(frozen=True, kw_only=True)
class RigViews:
    """Views of all rigs of some objects: the 8 of stage 1, then equally many near views of each."""

    rgb: np.ndarray
    """`(R, V, H, W, 3)` uint8 sRGB on white; view 0 is the photo."""
    photo_mask: np.ndarray
    """`(R, H, W)` uint8 coverage of view 0."""
    azimuth_deg: np.ndarray
    """`(R, V)` float32, from view 0's azimuth; negated for mirrored rigs."""
    polar_deg: np.ndarray
    """`(R, V)` float32 from +Z."""
    asset_ids: tuple[str, ...]
    """`R` names, one for each rig."""

    @property
    def photo_elevation_deg(self) -> np.ndarray:
        """`(R,)` of view 0."""
        return 90.0 - self.polar_deg[:, 0]

    @cached_property
    def chances(self) -> np.ndarray:
        """`(R,)` of each rig to be drawn."""
        return drawing_chances(self.asset_ids)


@dataclass(frozen=True, kw_only=True)
class ViewPairs:
    """A batch of condition and target views of the same rig, all `(B,)`."""

    rig: np.ndarray
    condition: np.ndarray
    target: np.ndarray
    d_polar_deg: np.ndarray
    d_azimuth_deg: np.ndarray


def drawing_chances(asset_ids: Sequence[str]) -> np.ndarray:
    """`(N,)` of each example to be drawn, whose objects these are.

    All are alike, but a collection with more examples than all others together is drawn half as
    often as these: it must not rule the mixture. Those of one collection have the same name before
    the first dash or underscore (`blendswap-cc0_...`, `blendswap-ccby_...`).
    """
    collections = np.array([re.split("[-_]", asset_id)[0] for asset_id in asset_ids])
    names, counts = np.unique(collections, return_counts=True)
    largest = counts.max(initial=0)
    others = len(collections) - largest
    chances = np.ones(len(collections))
    if 0 < others < largest:
        chances[collections == names[counts.argmax()]] = 0.5 * others / largest
    return chances / chances.sum()


def read_split(data_dir: Path, part: str) -> list[str]:
    """The asset ids of one part (`train`, `val`, `near_test`, ...) of `split.json`.

    Raises:
        OptionError: There is no such part.
    """
    split = json.loads((data_dir / "split.json").read_text(encoding="utf-8"))
    if part not in split:
        raise OptionError(
            f"split.json has no part {part!r}, only {sorted(split)}.",
            hint="Choose one of these, or render the training data again.",
        )
    return [str(asset_id) for asset_id in split[part]]


def rendered(data_dir: Path, asset_ids: list[str]) -> list[str]:
    """Those whose renders are there."""
    renders = data_dir / "renders"
    return [name for name in asset_ids if (renders / f"{name}.npz").is_file()]


def without(names: list[str], done: list[str]) -> list[str]:
    """The names that are not done, in their order."""
    is_done = set(done)
    return [name for name in names if name not in is_done]


def rendered_ids(data_dir: Path, part: str) -> list[str]:
    """The ids of one part of the split whose renders are there."""
    return rendered(data_dir, read_split(data_dir, part))


def view_size_px(data_dir: Path) -> int:
    """Side of the rendered views, which the networks take over.

    Raises:
        OptionError: Nothing is rendered yet.
    """
    size_px = rendered_size_px(data_dir / "renders")
    if size_px is None:
        raise OptionError(
            f"Expected renders in {data_dir / 'renders'}, but there are none.",
            hint="Run `python -m one2345_blender.training renders` first.",
        )
    return size_px


def require_rendered_size(data_dir: Path, preset_dir: Path, expected_px: int) -> None:
    """A preset's networks are trained further on views of the size that they see.

    Raises:
        OptionError: The renders have another size, or nothing is rendered yet.
    """
    if view_size_px(data_dir) != expected_px:
        raise OptionError(
            f"The networks of {preset_dir} see views of {expected_px} px, the renders in "
            f"{data_dir} have {view_size_px(data_dir)} px.",
            hint=f"Render with --size {expected_px}.",
        )


def nothing_rendered(data_dir: Path) -> OptionError:
    """A training has no object to begin with."""
    return OptionError(
        f"None of the objects to train on is rendered in {data_dir}.",
        hint="Run `python -m one2345_blender.training renders` first.",
    )


def no_rigs() -> RigViews:
    """Nothing, of no size."""
    return RigViews(
        rgb=np.zeros((0, NUM_VIEWS, 0, 0, 3), np.uint8),
        photo_mask=np.zeros((0, 0, 0), np.uint8),
        azimuth_deg=np.zeros((0, NUM_VIEWS), np.float32),
        polar_deg=np.zeros((0, NUM_VIEWS), np.float32),
        asset_ids=(),
    )


def join_rigs(parts: Sequence[RigViews]) -> RigViews:
    """All rigs of all parts."""
    parts = [part for part in parts if part.asset_ids] or [no_rigs()]
    return RigViews(
        rgb=np.concatenate([part.rgb for part in parts]),
        photo_mask=np.concatenate([part.photo_mask for part in parts]),
        azimuth_deg=np.concatenate([part.azimuth_deg for part in parts]),
        polar_deg=np.concatenate([part.polar_deg for part in parts]),
        asset_ids=tuple(name for part in parts for name in part.asset_ids),
    )


class RigReader:
    """Reads renders while they are being made: each call gives those that are new.

    Args:
        data_dir: Holds `renders/<asset_id>.npz`.
        asset_ids: Objects to read as they appear.
        rigs_per_asset: At most so many rigs of each object.
        seed: With it, half of the rigs are mirrored, any of the level views becomes the photo, the
            colours and exposure of each rig are changed, and some photos are not quite sharp.
    """

    def __init__(
        self,
        data_dir: Path,
        asset_ids: list[str],
        *,
        rigs_per_asset: int,
        seed: int | None = None,
    ) -> None:
        self._data_dir, self._missing = data_dir, asset_ids
        self._rigs_per_asset = rigs_per_asset
        self._seed = seed

    def read_first(self, *, max_assets: int | None = None) -> RigViews:
        """Those of `read_new`, where a training cannot start without any.

        Raises:
            OptionError: None of the objects is rendered yet.
        """
        rigs = self.read_new(max_assets=max_assets)
        if not rigs.asset_ids:
            raise nothing_rendered(self._data_dir)
        return rigs

    def read_new(self, *, max_assets: int | None = None) -> RigViews:
        """The rigs of objects rendered since the last call, at most `max_assets` of them."""
        present = rendered(self._data_dir, self._missing)[:max_assets]
        self._missing = without(self._missing, present)
        rigs = [rig for asset_id in present for rig in self._read(asset_id)]
        if not rigs:
            return no_rigs()
        rgb, photo_mask, azimuth_deg, polar_deg, names = zip(*rigs, strict=True)
        return RigViews(
            rgb=np.stack(rgb),
            photo_mask=np.stack(photo_mask),
            azimuth_deg=np.stack(azimuth_deg),
            polar_deg=np.stack(polar_deg),
            asset_ids=names,
        )

    def _read(
        self, asset_id: str
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, str]]:
        rng = None if self._seed is None else asset_rng(self._seed, asset_id)
        with np.load(self._data_dir / "renders" / f"{asset_id}.npz") as renders:
            views, masks = renders["rgb"], renders["mask"]
            elevations = renders["elevation_deg"]
        for rig in range(min(self._rigs_per_asset, len(views))):
            viewpoints = method_viewpoints(float(elevations[rig]))
            azimuth_deg = np.array([v.azimuth_deg for v in viewpoints], np.float32)
            polar_deg = np.array([90.0 - v.elevation_deg for v in viewpoints], np.float32)
            pictures, mask = views[rig], masks[rig]
            if rng is not None:
                order = turned_rig(int(rng.integers(NUM_LEVEL_VIEWS)))
                mask = mask[order]
                pictures = random_colours(rng)(pictures[order], mask)
                photo = random_blur(rng, np.dstack([pictures[0], mask[0]]))
                pictures[0], mask[0] = photo[..., :3], photo[..., 3]
                if rng.random() < 0.5:
                    pictures, mask, azimuth_deg = (
                        pictures[:, :, ::-1],
                        mask[..., ::-1],
                        -azimuth_deg,
                    )
            yield np.ascontiguousarray(pictures), mask[0], azimuth_deg, polar_deg, asset_id


def turned_rig(photo: int) -> np.ndarray:
    """The order `(40,)` of a rig's views in which the level view `photo` comes first.

    Level and tilted views are quarter turns apart, so that offsets stay what they are.
    """
    quarter = np.roll(np.arange(NUM_LEVEL_VIEWS), -photo)
    stage1 = np.concatenate([quarter, NUM_LEVEL_VIEWS + quarter])
    near = np.arange(NUM_STAGE1_VIEWS, NUM_VIEWS).reshape(NUM_STAGE1_VIEWS, -1)[stage1]
    return np.concatenate([stage1, near.ravel()])


def asset_rng(seed: int, asset_id: str) -> np.random.Generator:
    """Random numbers of one object, the same whenever it is read."""
    return np.random.default_rng([seed, *asset_id.encode()])


def one_near_view_each(rigs: RigViews, seed: int) -> RigViews:
    """The same rigs with one of the near views of each stage-1 view: 16 views instead of 40."""
    rows = np.arange(len(rigs.rgb))[:, None]
    rngs = {name: asset_rng(seed, name) for name in rigs.asset_ids}
    near = np.stack(
        [rngs[name].integers(len(NEAR_OFFSETS), size=NUM_STAGE1_VIEWS) for name in rigs.asset_ids]
    )
    near += NUM_STAGE1_VIEWS + len(NEAR_OFFSETS) * np.arange(NUM_STAGE1_VIEWS)
    stage1 = np.broadcast_to(np.arange(NUM_STAGE1_VIEWS), near.shape)
    chosen = np.concatenate([stage1, near], axis=1)
    return replace(
        rigs,
        rgb=rigs.rgb[rows, chosen],
        azimuth_deg=rigs.azimuth_deg[rows, chosen],
        polar_deg=rigs.polar_deg[rows, chosen],
    )


def pair_table(kind: str, num_views: int) -> np.ndarray:
    """The `(P, 2)` condition and target views of one kind, of rigs with `num_views` views.

    `stage1`: from the photo to the level and tilted views; `near`: from each stage-1 view to its
    own near views; `any`: from each to each other.
    """
    if kind == "any":
        pairs = [(c, t) for c in range(num_views) for t in range(num_views) if c != t]
    elif kind == "stage1":
        pairs = [(0, target) for target in range(NUM_STAGE1_VIEWS)]
    else:
        near = num_views // NUM_STAGE1_VIEWS - 1
        pairs = [
            (c, NUM_STAGE1_VIEWS + near * c + n)
            for c in range(NUM_STAGE1_VIEWS)
            for n in range(near)
        ]
    return np.array(pairs)


def draw_pairs(
    rigs: RigViews,
    rngs: Sequence[np.random.Generator],
    kind_weights: Mapping[str, float] = METHOD_PAIRS,
) -> ViewPairs:
    """A random pair for each generator, its kind weighted by `kind_weights`."""
    tables = [pair_table(kind, rigs.rgb.shape[1]) for kind in kind_weights]
    kinds = [tables[rng.choice(len(tables), p=list(kind_weights.values()))] for rng in rngs]
    pairs = np.stack(
        [table[rng.integers(len(table))] for table, rng in zip(kinds, rngs, strict=True)]
    )
    rig = np.array([rng.choice(len(rigs.rgb), p=rigs.chances) for rng in rngs])
    return pairs_between(rigs, rig, *pairs.T)


def pairs_between(
    rigs: RigViews, rig: np.ndarray, condition: np.ndarray, target: np.ndarray
) -> ViewPairs:
    """The given views' pairs with their camera offsets; all arguments `(B,)` indices."""
    return ViewPairs(
        rig=rig,
        condition=condition,
        target=target,
        d_polar_deg=rigs.polar_deg[rig, target] - rigs.polar_deg[rig, condition],
        d_azimuth_deg=rigs.azimuth_deg[rig, target] - rigs.azimuth_deg[rig, condition],
    )
