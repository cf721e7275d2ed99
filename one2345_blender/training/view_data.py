# SPDX-License-Identifier: GPL-3.0-or-later
"""Rendered rigs in memory, and the pairs of views that Zero123 learns from."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ..contracts.errors import OptionError
from ..pipeline.view_schedule import (
    NEAR_OFFSETS,
    NUM_LEVEL_VIEWS,
    NUM_STAGE1_VIEWS,
    method_viewpoints,
)

VIEW_SIZE_PX = 128
NUM_VIEWS = NUM_STAGE1_VIEWS * (1 + len(NEAR_OFFSETS))
PAIR_KINDS = ("stage1", "near", "other")
PAIR_KIND_WEIGHTS = (0.55, 0.37, 0.08)
"""How often each kind of pair is drawn: mostly what the method will ask for."""


@dataclass(frozen=True, kw_only=True)
class RigViews:
    """All views of all rigs of some objects."""

    rgb: np.ndarray
    """`(R, V, 128, 128, 3)` uint8 sRGB on white."""
    azimuth_deg: np.ndarray
    """`(R, V)` float32, from view 0's azimuth; negated for mirrored rigs."""
    polar_deg: np.ndarray
    """`(R, V)` float32 from +Z."""
    asset_ids: tuple[str, ...]
    """`R` names, one for each rig."""


@dataclass(frozen=True, kw_only=True)
class ViewPairs:
    """A batch of condition and target views of the same rig, all `(B,)`."""

    rig: np.ndarray
    condition: np.ndarray
    target: np.ndarray
    d_polar_deg: np.ndarray
    d_azimuth_deg: np.ndarray


def read_split(data_dir: Path, part: str) -> list[str]:
    """The asset ids of one part (`train`, `val`, `near_test`) of `split.json`.

    Raises:
        OptionError: There is no such part.
    """
    split = json.loads((data_dir / "split.json").read_text(encoding="utf-8"))
    if part not in split:
        raise OptionError(
            f"split.json has no part {part!r}, only {sorted(split)}.",
            hint="Render the training data again.",
        )
    return [str(asset_id) for asset_id in split[part]]


def no_rigs() -> RigViews:
    """Nothing, to `join_rigs` to."""
    return RigViews(
        rgb=np.zeros((0, NUM_VIEWS, VIEW_SIZE_PX, VIEW_SIZE_PX, 3), np.uint8),
        azimuth_deg=np.zeros((0, NUM_VIEWS), np.float32),
        polar_deg=np.zeros((0, NUM_VIEWS), np.float32),
        asset_ids=(),
    )


def join_rigs(first: RigViews, second: RigViews) -> RigViews:
    """All rigs of both."""
    return RigViews(
        rgb=np.concatenate([first.rgb, second.rgb]),
        azimuth_deg=np.concatenate([first.azimuth_deg, second.azimuth_deg]),
        polar_deg=np.concatenate([first.polar_deg, second.polar_deg]),
        asset_ids=first.asset_ids + second.asset_ids,
    )


class RigReader:
    """Reads renders while they are being made: each call gives those that are new.

    Args:
        data_dir: Holds `renders/<asset_id>.npz` and `split.json`.
        part: Of the split.
        rigs_per_asset: At most so many rigs of each object.
        rng: With it, half of the rigs are mirrored, and half of those after an object's first get
            their colour channels shuffled: new objects at no cost.
        num_assets: Only so many objects, the first of the split.
    """

    def __init__(
        self,
        data_dir: Path,
        part: str,
        *,
        rigs_per_asset: int,
        rng: np.random.Generator | None = None,
        num_assets: int | None = None,
    ) -> None:
        self._data_dir = data_dir
        self._missing = read_split(data_dir, part)[:num_assets]
        self._rigs_per_asset = rigs_per_asset
        self._rng = rng

    def read_new(self, *, max_assets: int | None = None) -> RigViews:
        """The rigs of objects rendered since the last call, at most `max_assets` of them."""
        paths = {a: self._data_dir / "renders" / f"{a}.npz" for a in self._missing}
        present = [a for a, path in paths.items() if path.is_file()][:max_assets]
        self._missing = [a for a in self._missing if a not in set(present)]
        rigs = [rig for asset_id in present for rig in self._read(asset_id, paths[asset_id])]
        if not rigs:
            return no_rigs()
        rgb, azimuth_deg, polar_deg, names = zip(*rigs, strict=True)
        return RigViews(
            rgb=np.stack(rgb),
            azimuth_deg=np.stack(azimuth_deg),
            polar_deg=np.stack(polar_deg),
            asset_ids=names,
        )

    def _read(
        self, asset_id: str, path: Path
    ) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray, str]]:
        with np.load(path) as renders:
            views, elevations = renders["rgb"], renders["elevation_deg"]
        for rig in range(min(self._rigs_per_asset, len(views))):
            viewpoints = method_viewpoints(float(elevations[rig]))
            azimuth_deg = np.array([v.azimuth_deg for v in viewpoints], np.float32)
            polar_deg = np.array([90.0 - v.elevation_deg for v in viewpoints], np.float32)
            picture = views[rig]
            if self._rng is not None and self._rng.random() < 0.5:
                picture, azimuth_deg = picture[:, :, ::-1], -azimuth_deg
            if self._rng is not None and rig > 0 and self._rng.random() < 0.5:
                picture = picture[..., self._rng.permutation(3)]
            yield np.ascontiguousarray(picture), azimuth_deg, polar_deg, asset_id


def pair_table(kind: str) -> np.ndarray:
    """The `(P, 2)` condition and target views of one kind.

    `stage1`: from each level view (any of them could be the photo) to the level and tilted ones;
    `near`: from each stage-1 view to its own near views; `other`: every pair.
    """
    if kind == "stage1":
        pairs = [(c, t) for c in range(NUM_LEVEL_VIEWS) for t in range(NUM_STAGE1_VIEWS)]
    elif kind == "near":
        near = len(NEAR_OFFSETS)
        pairs = [
            (c, NUM_STAGE1_VIEWS + near * c + n)
            for c in range(NUM_STAGE1_VIEWS)
            for n in range(near)
        ]
    else:
        pairs = [(c, t) for c in range(NUM_VIEWS) for t in range(NUM_VIEWS) if c != t]
    return np.array(pairs)


def draw_pairs(rigs: RigViews, batch_size: int, rng: np.random.Generator) -> ViewPairs:
    """A random batch, its kinds weighted by `PAIR_KIND_WEIGHTS`."""
    kinds = rng.choice(len(PAIR_KINDS), batch_size, p=PAIR_KIND_WEIGHTS)
    tables = [pair_table(kind) for kind in PAIR_KINDS]
    pairs = np.stack([tables[kind][rng.integers(len(tables[kind]))] for kind in kinds])
    return pairs_between(rigs, rng.integers(len(rigs.rgb), size=batch_size), *pairs.T)


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
