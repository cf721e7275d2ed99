# SPDX-License-Identifier: GPL-3.0-or-later
"""Examples for the reconstruction network: source views, points and colours of one rig.

The sources are the photo (unless the recipe leaves it out) and the method's 32 near views, or the 8
of stage 1. These are either true
renders, disturbed so that they look like predicted ones, or the view generator's own predictions.
The targets are always the true renders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from ..contracts.cameras import c2w_from_viewpoints, method_intrinsics
from ..pipeline.lifting.guessed_object import upright_grid
from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.lifting.radiance import MAX_DENSITY, RadianceGrid, grid_nodes
from ..pipeline.view_schedule import NUM_STAGE1_VIEWS, method_viewpoints
from .framing import MAX_OBJECT_RADIUS
from .ray_rendering import TargetRays
from .recolouring import random_fading
from .reconstruction_recipes import SHIPPED, ReconstructionRecipe
from .renders import NUM_SURVEY_VIEWS, RenderedRigs, load_rigs, survey_viewpoints
from .targets import DepthRig, SdfTarget, unproject
from .view_data import drawing_chances

NEAR_SURFACE_SPREADS = (0.008, 0.04)
"""Standard deviations of the points around the surface, world units."""
GUESSED_SPREAD = 0.04
"""Of the points around what is guessed to be there."""
GUESSED_DENSITY = 0.01
"""Share of the largest density from which on something is guessed to be there."""
NUM_RAYS = 256
MAX_POSE_JITTER_DEG = 3.0


@dataclass(frozen=True, kw_only=True)
class SourceViews:
    """Posed images as the network gets them."""

    rgb: Tensor
    """(S,3,H,W) float32 sRGB 0..1 on white."""
    c2w: Tensor
    """(S,4,4) float32, OpenCV axes."""
    K: Tensor
    """(3,3) float32, pixels."""
    reference_c2w: Tensor
    """(4,4) of the rig's view 0."""
    guess: RadianceGrid | None = None
    """What the lifter makes of the photo, where that is given."""


@dataclass(frozen=True, kw_only=True)
class ReconstructionExample:
    """One rig of one object."""

    sources: SourceViews
    points: Tensor
    """(P,3) world."""
    sdf: Tensor
    """(P,) truncated signed distance, world units."""
    surface_points: Tensor
    """(Q,3) world."""
    surface_rgb: Tensor
    """(Q,3) sRGB 0..1."""
    is_predicted: bool = False
    """Whether the sources are the view generator's predictions."""
    rays: TargetRays | None = None
    """Of one stage-1 view, where rays are what is learnt from."""


def depth_rig(rigs: RenderedRigs, rig: int) -> DepthRig:
    """The depth maps and cameras of one rig."""
    viewpoints = method_viewpoints(float(rigs.elevation_deg[rig]))
    return DepthRig(
        depth=torch.from_numpy(rigs.depth[rig].astype(np.float32)),
        c2w=torch.from_numpy(c2w_from_viewpoints(viewpoints)),
        K=torch.from_numpy(method_intrinsics(rigs.rgb.shape[-2])),
    )


def surveyed(depths: DepthRig, survey_depth: NDArray[np.float16]) -> DepthRig:
    """The same and those from all around.

    Args:
        depths: V depth maps.
        survey_depth: (32,H,W) of the same rig.
    """
    around = torch.from_numpy(c2w_from_viewpoints(survey_viewpoints(NUM_SURVEY_VIEWS)))
    survey = torch.from_numpy(survey_depth.astype(np.float32))
    return replace(
        depths, depth=torch.cat([depths.depth, survey]), c2w=torch.cat([depths.c2w, around])
    )


def well_covered(depths: DepthRig, mask: NDArray[np.uint8]) -> DepthRig:
    """The same without pixels that show something else beside the object: their colours are mixed.

    Args:
        depths: V depth maps.
        mask: (V,H,W) coverage, 0..255; of an object that covers no pixel as a whole those remain
            that it covers most.
    """
    is_whole = torch.from_numpy(mask == mask.max())
    return replace(depths, depth=torch.where(is_whole, depths.depth, 0.0))


def photo_and_near_views(rigs: RenderedRigs, rig: int) -> NDArray[np.uint8]:
    """(33,H,W,3) view 0 and the 32 near views of one rig."""
    return np.delete(rigs.rgb[rig], np.s_[1:NUM_STAGE1_VIEWS], axis=0)


def source_views(
    rgb: NDArray[np.uint8], elevation_deg: float, chosen: NDArray[np.int64] | None = None
) -> SourceViews:
    """The photo and the `chosen` ones (all by default) of its 32 near views.

    Args:
        rgb: (33,H,W,3), the photo first.
        elevation_deg: Of the photo.
        chosen: Indices of near views, 0..31.
    """
    c2w = torch.from_numpy(c2w_from_viewpoints(method_viewpoints(elevation_deg)))
    near = torch.arange(len(rgb) - 1) if chosen is None else torch.from_numpy(chosen)
    index = torch.cat([torch.zeros(1, dtype=torch.int64), 1 + near])
    images = torch.from_numpy(rgb)[index].permute(0, 3, 1, 2).contiguous()
    return SourceViews(
        rgb=images.float() / 255,
        c2w=torch.cat([c2w[:1], c2w[NUM_STAGE1_VIEWS:]])[index],
        K=torch.from_numpy(method_intrinsics(rgb.shape[-2])),
        reference_c2w=c2w[0],
    )


def stage1_sources(rigs: RenderedRigs, rig: int) -> SourceViews:
    """The 8 true views of stage 1."""
    depths = depth_rig(rigs, rig)
    images = torch.from_numpy(rigs.rgb[rig, :NUM_STAGE1_VIEWS]).permute(0, 3, 1, 2).contiguous()
    return SourceViews(
        rgb=images.float() / 255,
        c2w=depths.c2w[:NUM_STAGE1_VIEWS],
        K=depths.K,
        reference_c2w=depths.c2w[0],
    )


def without_photo(sources: SourceViews) -> SourceViews:
    """All but the first view, which is the photo."""
    return replace(sources, rgb=sources.rgb[1:], c2w=sources.c2w[1:])


def target_rays(
    rigs: RenderedRigs, rig: int, view: int, num_rays: int, generator: torch.Generator
) -> TargetRays:
    """Random pixels of one true view: half of them anywhere, half on the object."""
    depths = depth_rig(rigs, rig)
    mask = torch.from_numpy(rigs.mask[rig, view])
    on_object = mask.nonzero()
    anywhere = torch.randint(mask.shape[0], (num_rays - num_rays // 2, 2), generator=generator)
    chosen = torch.randint(len(on_object), (num_rays // 2,), generator=generator)
    row, column = torch.cat([anywhere, on_object[chosen]]).unbind(1)
    pixels = torch.stack([column, row, torch.ones_like(row)], dim=1).float()
    c2w = depths.c2w[view]
    direction = pixels @ torch.linalg.inv(depths.K).T @ c2w[:3, :3].T
    return TargetRays(
        origin=c2w[:3, 3].expand(num_rays, 3),
        direction=F.normalize(direction, dim=-1),
        rgb=torch.from_numpy(rigs.rgb[rig, view])[row, column].float() / 255,
        coverage=mask[row, column].float() / 255,
        seed=int(torch.randint(2**62, (1,), generator=generator)),
    )


def lifted_photo(lifter: PhotoLifter, rigs: RenderedRigs, rig: int) -> RadianceGrid:
    """What the lifter makes of one rig's view 0, in the rig's world."""
    with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
        photo = np.dstack([rigs.rgb[rig, 0], rigs.mask[rig, 0]])
        lifted = lifter(torch.from_numpy(photo).permute(2, 0, 1)[None].float() / 255)
    return upright_grid(lifted, float(rigs.elevation_deg[rig]))


def shrink(sources: SourceViews, size_px: int) -> SourceViews:
    """The same views at `size_px`, which divides their size: each pixel the mean of a block."""
    factor = sources.rgb.shape[-1] // size_px
    K = sources.K / factor
    K[:2, 2] -= (factor - 1) / (2 * factor)  # a block's middle lies between pixels
    K[2, 2] = 1
    return replace(sources, rgb=F.avg_pool2d(sources.rgb, factor), K=K)


class ReconstructionData:
    """Draws examples from rendered objects.

    Args:
        data_dir: Holds `renders/<asset_id>.npz` and, as they appear, `predicted/<asset_id>.npz`
            with `rgb` (R,32,H,W,3) uint8, R at most that of the renders.
        asset_ids: Objects to draw from.
        image_size_px: Of the source views; divides the size of the renders.
        num_points: P.
        num_surface_points: Q.
        lifter: Makes the guesses beside predicted views, for a network that takes them. True ones
            have none, as in use: a guess that contradicts them would only teach to distrust it.
        recipe: Which views are sources, and whether rays are drawn.
    """

    def __init__(
        self,
        data_dir: Path,
        asset_ids: Sequence[str],
        *,
        lifter: PhotoLifter | None = None,
        image_size_px: int,
        num_points: int,
        num_surface_points: int,
        recipe: ReconstructionRecipe = SHIPPED,
    ) -> None:
        self.data_dir = data_dir
        self.asset_ids = list(asset_ids)
        self.lifter = lifter
        self.image_size_px = image_size_px
        self.num_points = num_points
        self.num_surface_points = num_surface_points
        self.recipe = recipe

    def draw(self, num_sources: tuple[int, int], rng: np.random.Generator) -> ReconstructionExample:
        """A random rig of a random object; at least and at most so many of its near views as
        sources, or all of stage 1."""
        generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
        fewest, most = num_sources
        files = {path.stem for path in (self.data_dir / "predicted").glob("*.npz")}
        predicted_ids = [name for name in self.asset_ids if name in files]
        use_predicted = bool(predicted_ids) and rng.random() < self.recipe.predicted_share
        asset_ids = predicted_ids if use_predicted else self.asset_ids
        asset_id = str(rng.choice(asset_ids, p=drawing_chances(asset_ids)))
        rigs = load_rigs(self.data_dir / "renders" / f"{asset_id}.npz")
        chosen = _spread_choice(
            int(rng.integers(fewest, most + 1)), rigs.rgb.shape[1] - NUM_STAGE1_VIEWS, rng
        )
        if use_predicted:
            with np.load(self._predicted_path(asset_id)) as arrays:
                predicted = arrays["rgb"]
            rig = int(rng.integers(len(predicted)))
            views = np.concatenate([rigs.rgb[rig, :1], predicted[rig]])
            sources = source_views(views, float(rigs.elevation_deg[rig]), chosen)
        else:
            rig = int(rng.integers(len(rigs.rgb)))
            rigs = replace(rigs, rgb=random_fading(rng, rigs.rgb))
            if self.recipe.source_stage == 1:
                sources = stage1_sources(rigs, rig)
            else:
                views = photo_and_near_views(rigs, rig)
                sources = source_views(views, float(rigs.elevation_deg[rig]), chosen)
            sources = _disturbed(sources, rng, generator)
        if not self.recipe.sees_photo:
            sources = without_photo(sources)
        sources = shrink(sources, self.image_size_px)
        if self.lifter is not None and use_predicted:
            sources = replace(sources, guess=lifted_photo(self.lifter, rigs, rig))
        example = replace(
            self._with_targets(sources, rigs, rig, generator, use_predicted),
            is_predicted=use_predicted,
        )
        if self.recipe.supervision == "rays":
            view = int(rng.integers(NUM_STAGE1_VIEWS))
            return replace(example, rays=target_rays(rigs, rig, view, NUM_RAYS, generator))
        return example

    def _predicted_path(self, asset_id: str) -> Path:
        return self.data_dir / "predicted" / f"{asset_id}.npz"

    def _with_targets(
        self,
        sources: SourceViews,
        rigs: RenderedRigs,
        rig: int,
        generator: torch.Generator,
        is_predicted: bool,
    ) -> ReconstructionExample:
        depths = depth_rig(rigs, rig)
        target = SdfTarget(surveyed(depths, rigs.survey_depth[rig]), generator)
        if is_predicted:
            points = self._points_around_guess(sources.guess, generator)
        else:
            points = self._points_around_surface(target.surface.points, generator)
        shown = well_covered(depths, rigs.mask[rig])
        coloured = unproject(shown, generator, self.num_surface_points)
        row, column = coloured.pixel.unbind(1)
        colors = torch.from_numpy(rigs.rgb[rig])[coloured.view, row, column].float() / 255
        return ReconstructionExample(
            sources=sources,
            points=points,
            sdf=target(points),
            surface_points=coloured.points,
            surface_rgb=colors,
        )

    def _points_around_surface(self, surface: Tensor, generator: torch.Generator) -> Tensor:
        """Two thirds around the true surface, one third uniform in the volume.

        True views say where that surface is.
        """
        third = self.num_points // 3
        spread = torch.tensor(NEAR_SURFACE_SPREADS).repeat_interleave(third)[:, None]
        near = _scattered(surface, spread, generator)
        return torch.cat([near, _uniform(self.num_points - len(near), generator)])

    def _points_around_guess(
        self, guess: RadianceGrid | None, generator: torch.Generator
    ) -> Tensor:
        """Two thirds around what the sources' guess holds, the others uniform in the volume.

        Where the sources do not say where the surface is, asking around the true one would give
        it away: the network would learn that whatever it is asked lies close to a surface.
        """
        if guess is None:
            return _uniform(self.num_points, generator)
        held = grid_nodes(len(guess.density))[
            guess.density.flatten() > GUESSED_DENSITY * MAX_DENSITY
        ]
        if not len(held):
            return _uniform(self.num_points, generator)
        spread = torch.full((2 * self.num_points // 3, 1), GUESSED_SPREAD)
        near = _scattered(held, spread, generator)
        return torch.cat([near, _uniform(self.num_points - len(near), generator)])


def _scattered(places: Tensor, spread: Tensor, generator: torch.Generator) -> Tensor:
    """(P,3) around random ones of the `places`, by the standard deviations (P,1)."""
    chosen = torch.randint(len(places), (len(spread),), generator=generator)
    return places[chosen] + spread * torch.randn(len(spread), 3, generator=generator)


def _uniform(number: int, generator: torch.Generator) -> Tensor:
    """(P,3) in the volume."""
    return MAX_OBJECT_RADIUS * (torch.rand(number, 3, generator=generator) * 2 - 1)


def _disturbed(
    sources: SourceViews, rng: np.random.Generator, generator: torch.Generator
) -> SourceViews:
    """Blur, colour drift, pixel shifts and pose errors, each view on its own."""
    num_views = len(sources.rgb)
    strength = float(rng.random())
    rgb = sources.rgb
    if rng.random() < 0.5:
        rgb = _blur(rgb, sigma_px=0.3 + 1.2 * float(rng.random()))
    shift_px = torch.randn(num_views, 2, generator=generator) * strength
    rgb = _shift(rgb, shift_px)
    gain = 1 + 0.1 * strength * torch.randn(num_views, 3, 1, 1, generator=generator)
    object_share = 1 - rgb.amin(1, keepdim=True)
    rgb = torch.where(object_share > 0.02, (rgb * gain).clamp(0, 1), rgb)
    limit_deg = MAX_POSE_JITTER_DEG * strength
    c2w = _jitter_poses(sources.c2w, limit_deg, generator)
    return replace(sources, rgb=rgb, c2w=c2w)


def _spread_choice(num_sources: int, num_views: int, rng: np.random.Generator) -> NDArray[np.int64]:
    """`num_sources` of the views, taken evenly from the groups around the stage-1 views."""
    groups = np.arange(num_views).reshape(NUM_STAGE1_VIEWS, -1)
    order = rng.permutation(rng.permuted(groups, axis=1)).T.reshape(-1)
    return np.sort(order[:num_sources])


def _blur(rgb: Tensor, sigma_px: float) -> Tensor:
    offsets = torch.arange(-3, 4, dtype=torch.float32)
    kernel = torch.exp(-(offsets**2) / (2 * sigma_px**2))
    kernel = (kernel / kernel.sum()).repeat(3, 1)
    padded = F.pad(rgb, (3, 3, 3, 3), mode="replicate")
    rows = F.conv2d(padded, kernel[:, None, :, None], groups=3)
    return F.conv2d(rows, kernel[:, None, None, :], groups=3)


def _shift(rgb: Tensor, shift_px: Tensor) -> Tensor:
    theta = torch.eye(2, 3).repeat(len(rgb), 1, 1)
    theta[:, :, 2] = 2 * shift_px / rgb.shape[-1]
    grid = F.affine_grid(theta, list(rgb.shape), align_corners=False)
    return F.grid_sample(rgb, grid, padding_mode="border", align_corners=False)


def _jitter_poses(c2w: Tensor, limit_deg: float, generator: torch.Generator) -> Tensor:
    """Turn every camera about the world origin by up to `limit_deg` about each axis."""
    angles = (torch.rand(len(c2w), 3, generator=generator) * 2 - 1) * np.radians(limit_deg)
    skew = torch.zeros(len(c2w), 4, 4)
    for axis, (i, j) in enumerate(((1, 2), (2, 0), (0, 1))):
        skew[:, i, j], skew[:, j, i] = -angles[:, axis], angles[:, axis]
    return torch.linalg.matrix_exp(skew) @ c2w
