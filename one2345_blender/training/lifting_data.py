# SPDX-License-Identifier: GPL-3.0-or-later
"""Examples for the photo lifter: photos, what is inside behind their pixels, surface colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..contracts.cameras import method_intrinsics
from ..contracts.job_folder import atomic_write
from ..pipeline.lifting.photo_lifter import BIN_LENGTH
from ..pipeline.view_schedule import NUM_STAGE1_VIEWS, method_viewpoints
from .recolouring import random_blur, random_colours
from .reconstruction_data import depth_rig, surveyed, well_covered
from .renders import RenderedRigs, load_rigs
from .targets import DepthRig, is_seen_through, unproject
from .training_loop import Slot
from .view_data import nothing_rendered, rendered, without

PHOTO_ELEVATIONS_DEG = (-20.0, 70.0)
PHOTOS_PER_RIG = 4
NUM_DEPTHS = 32
NUM_SURFACE_POINTS = 1024
OTHER_VIEW_SIZE_PX = 32
JUDGING_VIEWS = (*range(NUM_STAGE1_VIEWS), *range(NUM_STAGE1_VIEWS, 40, 2), *range(40, 72))
"""Views that say whether a point is inside: half of the near ones, and those from all around."""


@dataclass(frozen=True, kw_only=True)
class LiftingPhotos:
    """`N` photos and what is known of their objects, in their cameras' frames."""

    photo: NDArray[np.uint8]
    """`(N, 128, 128, 4)`: sRGB on white and mask."""
    front_depth: NDArray[np.float16]
    """`(N, 64, 64)` of the nearest surface in 2 x 2 pixels, along the view axis, world units; 0
    where the photo shows none."""
    is_inside: NDArray[np.uint8]
    """`(N, 32, 64, 8)`: bits `(N, D, h, w)` packed along the last axis, the bins of
    `LiftedPhoto`."""
    surface_points: NDArray[np.float16]
    """`(N, Q, 3)` OpenCV axes, world units."""
    surface_rgb: NDArray[np.uint8]
    """`(N, Q, 3)` sRGB."""
    elevation_deg: NDArray[np.float32]
    """`(N,)`."""
    view_rgba: NDArray[np.uint8]
    """`(N, 7, 32, 32, 4)`: the rig's other stage-1 views, sRGB on white and coverage."""
    photo_from_view: NDArray[np.float32]
    """`(N, 7, 4, 4)` from their cameras to the photo's, OpenCV axes."""


@dataclass(frozen=True, kw_only=True)
class LiftingBatch:
    """What one training step sees."""

    photo: Tensor
    """`(B, 4, S, S)` sRGB on white and mask, 0..1."""
    front_depth: Tensor
    """`(B, 1, h, w)` world units, 0 where there is none."""
    is_inside: Tensor
    """`(B, D, h, w)` 0 or 1."""
    surface_points: Tensor
    """`(B, Q, 3)` OpenCV axes, world units."""
    surface_rgb: Tensor
    """`(B, Q, 3)` sRGB 0..1."""
    view: Tensor
    """`(B, 4, 32, 32)`: one other view of each object, sRGB on white and coverage, 0..1."""
    photo_from_view: Tensor
    """`(B, 4, 4)` from its camera to the photo's, OpenCV axes."""


def join_photos(parts: list[LiftingPhotos]) -> LiftingPhotos:
    """All photos of all parts, of which there is at least one."""
    names = LiftingPhotos.__dataclass_fields__
    return LiftingPhotos(**{n: np.concatenate([getattr(p, n) for p in parts]) for n in names})


def load_photos(data_dir: Path, asset_id: str) -> LiftingPhotos:
    """One object's photos from `lifting`; made from its renders and kept there where they are not
    there yet, are another version's, or older than the renders."""
    path = data_dir / "lifting" / f"{asset_id}.npz"
    renders_path = data_dir / "renders" / f"{asset_id}.npz"
    if path.is_file() and path.stat().st_mtime >= renders_path.stat().st_mtime:
        with np.load(path, allow_pickle=False) as arrays:
            if set(arrays.files) == set(LiftingPhotos.__dataclass_fields__):
                return LiftingPhotos(**arrays)
    rigs = load_rigs(renders_path)
    rng = np.random.default_rng([*asset_id.encode()])
    photos = join_photos([_photos_of_rig(rigs, rig, rng) for rig in range(len(rigs.rgb))])
    path.parent.mkdir(exist_ok=True)
    with atomic_write(path) as file:
        np.savez(file, **vars(photos))
    return photos


class PhotoReader:
    """Reads objects while they are being rendered: each call gives those that are new.

    Args:
        data_dir: Holds `renders`; the examples are kept in `lifting` in it.
        asset_ids: Objects to read as they appear.
        rigs_per_asset: At most so many rigs of each object.
    """

    asset_ids: list[str]
    """Whose photos were read so far: one for each photo, in their order."""

    def __init__(self, data_dir: Path, asset_ids: list[str], rigs_per_asset: int) -> None:
        self.asset_ids = []
        self._data_dir, self._missing = data_dir, asset_ids
        self._kept = slice(rigs_per_asset * PHOTOS_PER_RIG)

    def read_first(self) -> list[LiftingPhotos]:
        """Those of `read_new`, where a training cannot start without any.

        Raises:
            OptionError: None of the objects is rendered yet.
        """
        photos = self.read_new()
        if not photos:
            raise nothing_rendered(self._data_dir)
        return photos

    def read_new(self) -> list[LiftingPhotos]:
        """The photos of each object rendered since the last call."""
        new = rendered(self._data_dir, self._missing)
        self._missing = without(self._missing, new)
        return [self._load(name) for name in new]

    def _load(self, asset_id: str) -> LiftingPhotos:
        photos = load_photos(self._data_dir, asset_id)
        kept = LiftingPhotos(**{name: array[self._kept] for name, array in vars(photos).items()})
        self.asset_ids += [asset_id] * len(kept.photo)
        return kept


def draw_batch(
    data: LiftingPhotos, slots: Sequence[Slot], chances: NDArray[np.float64] | None = None
) -> LiftingBatch:
    """Random photos, one for each slot; half of them mirrored, colours and sharpness varied.

    Args:
        data: `N` photos.
        slots: `B` of them.
        chances: `(N,)` of each photo to be drawn; None: all are alike.
    """
    rows: list[tuple[NDArray[Any], ...]] = []
    mirror = mirrored_camera(data.photo.shape[-2])
    for slot in slots:
        rng = slot.rng
        index = rng.choice(len(data.photo), p=chances)
        photo, rgb = data.photo[index], data.surface_rgb[index]
        front = data.front_depth[index]
        inside = np.unpackbits(data.is_inside[index], axis=-1)
        points = data.surface_points[index].astype(np.float32)
        recolour = random_colours(rng)
        mask = photo[..., 3]
        photo = random_blur(rng, np.dstack([recolour(photo[..., :3], mask), mask]))
        rgb = recolour(rgb, np.full(len(rgb), 255, np.uint8))
        other = rng.integers(data.view_rgba.shape[1])
        view, pose = data.view_rgba[index, other], data.photo_from_view[index, other]
        view = np.dstack([recolour(view[..., :3], view[..., 3]), view[..., 3]])
        if rng.random() < 0.5:
            photo, front, view = photo[:, ::-1], front[:, ::-1], view[:, ::-1]
            inside = inside[..., ::-1]
            points, pose = points @ mirror[:3, :3].T, mirror @ pose @ mirror
        rows.append((photo, front, inside, points, rgb, view, pose))
    columns = [torch.from_numpy(np.stack(column)) for column in zip(*rows, strict=True)]
    return LiftingBatch(
        photo=columns[0].permute(0, 3, 1, 2).float() / 255.0,
        front_depth=columns[1].float()[:, None],
        is_inside=columns[2].float(),
        surface_points=columns[3],
        surface_rgb=columns[4].float() / 255.0,
        view=columns[5].permute(0, 3, 1, 2).float() / 255.0,
        photo_from_view=columns[6],
    )


def mirrored_camera(size_px: int) -> NDArray[np.float32]:
    """`(4, 4)` from a camera's frame to the one in which its mirrored picture shows what it shows,
    and back; OpenCV axes.

    A picture is mirrored between its two middle pixels, the camera looks at the right one of them.
    """
    mirror = np.diag(np.array([-1.0, 1.0, 1.0, 1.0], np.float32))
    mirror[0, 2] = -1.0 / method_intrinsics(size_px)[0, 0]
    return mirror


def _photos_of_rig(rigs: RenderedRigs, rig: int, rng: np.random.Generator) -> LiftingPhotos:
    """View 0 and some other stage-1 views, each as a photo of its own."""
    low, high = PHOTO_ELEVATIONS_DEG
    stage1 = method_viewpoints(float(rigs.elevation_deg[rig]))[:NUM_STAGE1_VIEWS]
    usable = [i for i, v in enumerate(stage1) if i and low <= v.elevation_deg <= high]
    chosen = [0, *rng.permutation(usable)[: PHOTOS_PER_RIG - 1].tolist()]
    depths = depth_rig(rigs, rig)
    judges = surveyed(depths, rigs.survey_depth[rig])
    generator = torch.Generator().manual_seed(int(rng.integers(2**31)))
    surface = unproject(well_covered(depths, rigs.mask[rig]), generator, NUM_SURFACE_POINTS)
    row, column = surface.pixel.numpy().T
    surface_rgb = rigs.rgb[rig, surface.view.numpy(), row, column]
    w2c = torch.linalg.inv(depths.c2w[chosen])
    seen = torch.einsum("vij,pj->vpi", w2c[:, :3, :3], surface.points) + w2c[:, None, :3, 3]
    others = np.array(
        [[i for i in range(NUM_STAGE1_VIEWS) if i != photo_view] for photo_view in chosen]
    )
    small_views = _shrunk(
        np.concatenate(
            [rigs.rgb[rig, :NUM_STAGE1_VIEWS], rigs.mask[rig, :NUM_STAGE1_VIEWS, ..., None]], -1
        )
    )
    short = NUM_SURFACE_POINTS - len(surface_rgb)  # tiny objects show fewer pixels
    photo = np.concatenate([rigs.rgb[rig, chosen], rigs.mask[rig, chosen, ..., None]], axis=-1)
    front_depth, is_inside = zip(*[_behind_pixels(judges, view) for view in chosen], strict=True)
    return LiftingPhotos(
        photo=photo,
        front_depth=np.stack(front_depth),
        is_inside=np.stack(is_inside),
        surface_points=np.pad(seen.numpy(), [(0, 0), (0, short), (0, 0)], "wrap").astype(
            np.float16
        ),
        surface_rgb=np.stack([np.pad(surface_rgb, [(0, short), (0, 0)], "wrap")] * len(chosen)),
        elevation_deg=np.array([stage1[v].elevation_deg for v in chosen], np.float32),
        view_rgba=small_views[others],
        photo_from_view=(w2c[:, None] @ depths.c2w[others]).numpy(),
    )


def _shrunk(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """`(V, 32, 32, 4)` block means of `(V, S, S, 4)`."""
    views, size_px = rgba.shape[:2]
    block = size_px // OTHER_VIEW_SIZE_PX
    blocks = rgba.reshape(views, OTHER_VIEW_SIZE_PX, block, OTHER_VIEW_SIZE_PX, block, 4)
    return blocks.mean(axis=(2, 4)).round().astype(np.uint8)


def _behind_pixels(depths: DepthRig, view: int) -> tuple[NDArray[np.float16], NDArray[np.uint8]]:
    """What lies behind one view's pixels, two by two.

    The bin that begins at the surface is always inside, or sheets without thickness would not be
    there at all; of the others those are inside which no view sees through.

    Returns:
        `(h, w)` the nearest depth, and packed bits `(D, h, w / 8)`.
    """
    size = depths.depth.shape[-1] // 2
    far_away = torch.where(depths.depth[view] > 0, depths.depth[view], torch.inf)
    nearest = -F.max_pool2d(-far_away[None], 2)[0]
    row, column = nearest.isfinite().nonzero().T
    front = nearest[row, column]
    centre = torch.stack([2 * column + 0.5, 2 * row + 0.5, torch.ones(len(row))], dim=-1)
    slope = centre @ torch.linalg.inv(depths.K).T
    depth = front + BIN_LENGTH * (torch.arange(NUM_DEPTHS)[:, None] - 0.5)
    before_camera = (slope * depth[..., None]).reshape(-1, 3)
    pose = depths.c2w[view]
    points = before_camera @ pose[:3, :3].T + pose[:3, 3]
    judging = list(JUDGING_VIEWS)
    judges = DepthRig(depth=depths.depth[judging], c2w=depths.c2w[judging], K=depths.K)
    inside = ~is_seen_through(judges, points).reshape(NUM_DEPTHS, -1)
    inside[0], inside[1] = False, True
    bits = np.zeros((NUM_DEPTHS, size, size), bool)
    bits[:, row.numpy(), column.numpy()] = inside.numpy()
    front_depth = torch.where(nearest.isfinite(), nearest, 0.0).numpy().astype(np.float16)
    return front_depth, np.packbits(bits, axis=-1)
