# SPDX-License-Identifier: GPL-3.0-or-later
"""Signed distances from depth maps, and the examples made of them."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from training_steps import learn

from one2345_blender.contracts.cameras import (
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    px_from_world,
)
from one2345_blender.pipeline.lifting.radiance import MAX_DENSITY, RadianceGrid, grid_nodes
from one2345_blender.pipeline.view_schedule import method_viewpoints
from one2345_blender.training.recolouring import random_fading
from one2345_blender.training.reconstruction_data import (
    ReconstructionData,
    depth_rig,
    shrink,
    source_views,
    target_rays,
    well_covered,
)
from one2345_blender.training.reconstruction_recipes import RECIPES
from one2345_blender.training.renders import RenderedRigs, save_rigs, survey_viewpoints
from one2345_blender.training.targets import (
    THIN_OFFSET,
    TRUNCATION,
    DepthRig,
    SdfTarget,
    surface_normals,
    unproject,
)
from one2345_blender.training.train_reconstruction import (
    ReconstructionObjective,
    embedded_reconstructor,
)
from one2345_blender.training.view_data import rendered_ids

SIZE_PX = 128
RADIUS = 0.4
ELEVATION_DEG = 20.0


def rig_of(
    first_hit: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    viewpoints: Sequence[Viewpoint],
) -> DepthRig:
    """Depth maps of what `first_hit` says of rays, given by their origins (V,1,1,3) and by
    directions (V,H,W,3) of unit depth: the depth, 0 for none."""
    c2w = torch.from_numpy(c2w_from_viewpoints(viewpoints))
    K = torch.from_numpy(method_intrinsics(SIZE_PX))
    row, column = torch.meshgrid(torch.arange(SIZE_PX), torch.arange(SIZE_PX), indexing="ij")
    pixels = torch.stack([column, row, torch.ones_like(row)], dim=-1).float()
    rays = torch.einsum("vij,hwj->vhwi", c2w[:, :3, :3], pixels @ torch.linalg.inv(K).T)
    return DepthRig(depth=first_hit(c2w[:, None, None, :3, 3], rays), c2w=c2w, K=K)


def first_hit_of_sphere(centre: torch.Tensor, rays: torch.Tensor) -> torch.Tensor:
    """A sphere at the origin."""
    a, b = rays.square().sum(-1), (rays * centre).sum(-1)
    discriminant = b**2 - a * (centre.square().sum(-1) - RADIUS**2)
    return torch.where(discriminant > 0, (-b - discriminant.clamp_min(0).sqrt()) / a, 0.0)


def first_hit_of_box(
    centre: torch.Tensor, rays: torch.Tensor, half_sides: torch.Tensor
) -> torch.Tensor:
    """A box at the origin, along the axes."""
    ends = torch.stack([(side * half_sides - centre) / rays for side in (-1, 1)])
    enters, leaves = ends.amin(0).amax(-1), ends.amax(0).amin(-1)
    return torch.where(enters < leaves, enters, 0.0)


METHOD_VIEWPOINTS = method_viewpoints(ELEVATION_DEG)
ALL_VIEWPOINTS = [*METHOD_VIEWPOINTS, *survey_viewpoints(32)]


def sphere_rig(viewpoints: Sequence[Viewpoint] = METHOD_VIEWPOINTS) -> DepthRig:
    return rig_of(first_hit_of_sphere, viewpoints)


def board_rig(thickness: float, axis: int, viewpoints: Sequence[Viewpoint]) -> DepthRig:
    """A square board, across the axis."""
    half_sides = torch.full((3,), RADIUS)
    half_sides[axis] = thickness / 2
    return rig_of(partial(first_hit_of_box, half_sides=half_sides), viewpoints)


def test_unprojected_pixels_lie_on_the_surface() -> None:
    rig = sphere_rig()
    surface = unproject(rig, torch.Generator().manual_seed(0), 500)
    assert len(surface.points) == 500
    assert surface.points.norm(dim=1).numpy() == pytest.approx(RADIUS, abs=1e-4)
    view = int(surface.view[0])
    px, _ = px_from_world(surface.points[:1].numpy(), rig.c2w[view].numpy(), rig.K.numpy())
    assert px[0, ::-1] == pytest.approx(surface.pixel[0].numpy(), abs=1e-2)


def test_sphere_gets_its_distance() -> None:
    target = SdfTarget(sphere_rig(), torch.Generator().manual_seed(0))
    points = (torch.rand(4000, 3) - 0.5) * 1.2
    expected = (points.norm(dim=1) - RADIUS).clamp(-TRUNCATION, TRUNCATION)
    error = (target(points) - expected).abs()
    assert error.mean() < 0.004
    sure = expected.abs() > 0.02
    assert (target(points)[sure] * expected[sure] > 0).all()


@pytest.mark.parametrize("axis", [1, 2])
@pytest.mark.parametrize("thickness", [1e-4, 0.006, 0.012, 0.02])
def test_boards_get_the_thickness_that_a_volume_holds(thickness: float, axis: int) -> None:
    rig = board_rig(thickness, axis, ALL_VIEWPOINTS)
    target = SdfTarget(rig, torch.Generator().manual_seed(0))
    across = torch.linspace(-0.06, 0.06, 121)
    lines = (torch.rand(200, 1, 3) * 0.6 - 0.3).repeat(1, len(across), 1)
    lines[..., axis] = across
    is_inside = (target(lines.reshape(-1, 3)) < 0).view(200, -1)
    found = is_inside.sum(1) * 0.001
    assert found.median() == pytest.approx(2 * THIN_OFFSET, abs=0.006)
    assert found.min() > THIN_OFFSET and found.max() < 3.5 * THIN_OFFSET
    middle = (is_inside * across).sum(1) / is_inside.sum(1)
    assert middle.abs().max() < 0.004


def test_a_solid_box_is_no_board() -> None:
    rig = board_rig(0.3, 2, ALL_VIEWPOINTS)
    assert SdfTarget(rig, torch.Generator().manual_seed(0))._thin_tree is None


def test_what_the_method_does_not_see_is_not_solid_for_that() -> None:
    """Below a board that is seen from above alone."""
    from_above = method_viewpoints(60.0)
    below = torch.rand(500, 3) * 0.4 - torch.tensor([0.2, 0.2, 0.45])
    targets = [
        SdfTarget(board_rig(0.02, 2, viewpoints), torch.Generator().manual_seed(0))
        for viewpoints in (from_above, [*from_above, *survey_viewpoints(32)])
    ]
    is_inside = [(target(below) < 0).float().mean() for target in targets]
    assert is_inside[0] > 0.3 and is_inside[1] == 0.0


def test_normals_lead_out_of_the_surface() -> None:
    rig = sphere_rig()
    surface = unproject(rig, torch.Generator().manual_seed(0), 2000)
    normals = surface_normals(rig, surface)
    cosine = (normals * surface.points / RADIUS).sum(1)
    assert cosine.median() > 0.99 and cosine.quantile(0.02) > 0.8


def test_colours_of_rims_are_not_learnt() -> None:
    rigs = sphere_renders()
    mask = rigs.mask[0].copy()
    mask[:, ::2] //= 2
    rig = well_covered(depth_rig(rigs, 0), mask)
    assert (rig.depth[:, ::2] == 0).all()
    assert (rig.depth[:, 1::2] > 0).any()
    assert (well_covered(depth_rig(rigs, 0), mask // 2).depth > 0).any()


def test_smaller_views_keep_their_cameras() -> None:
    ramp = np.linspace(0, 255, SIZE_PX).astype(np.uint8)
    rgb = np.broadcast_to(ramp[None, None, :, None], (33, SIZE_PX, SIZE_PX, 3)).copy()
    sources = source_views(rgb, ELEVATION_DEG, np.arange(3))
    small = shrink(sources, SIZE_PX // 2)
    world = np.array([[0.1, -0.2, 0.15]])
    large_px, _ = px_from_world(world, sources.c2w[0].numpy(), sources.K.numpy())
    small_px, _ = px_from_world(world, small.c2w[0].numpy(), small.K.numpy())
    assert small_px * 2 + 0.5 == pytest.approx(large_px, abs=1e-3)
    assert small.rgb.shape == (4, 3, SIZE_PX // 2, SIZE_PX // 2)


def sphere_renders() -> RenderedRigs:
    """Those of `sphere_rig`, grey."""
    rig = sphere_rig()
    mask = (rig.depth > 0).numpy()
    rgb = np.where(mask[..., None], np.uint8(90), np.uint8(255)).repeat(3, -1)
    return RenderedRigs(
        rgb=rgb[None],
        mask=(mask * np.uint8(255))[None],
        depth=rig.depth.numpy().astype(np.float16)[None],
        elevation_deg=np.array([ELEVATION_DEG], np.float32),
        survey_depth=sphere_rig(survey_viewpoints(32)).depth.numpy().astype(np.float16)[None],
    )


def test_rays_meet_the_pixels_they_are_of() -> None:
    rigs = sphere_renders()
    rays = target_rays(rigs, 0, 3, 64, torch.Generator().manual_seed(0))
    along = -(rays.origin * rays.direction).sum(-1)
    nearest = (rays.origin + along[:, None] * rays.direction).norm(dim=-1)
    is_object = rays.coverage > 0.5
    assert is_object.sum() >= 32
    assert (nearest[is_object] < RADIUS + 1e-3).all()
    assert (nearest[~is_object] > RADIUS - 1e-3).all()
    assert (rays.rgb[is_object] == 90 / 255).all() and (rays.rgb[~is_object] == 1.0).all()


@pytest.mark.parametrize(
    ("recipe", "measure", "num_steps"),
    [
        ("depth", "sdf", 12),
        ("rays", "color", 24),
        ("no-photo", "sdf", 12),
        ("stage-1-views", "sdf", 12),
    ],
)
def test_network_learns_from_an_example(
    tmp_path: Path, recipe: str, measure: str, num_steps: int
) -> None:
    (tmp_path / "renders").mkdir()
    save_rigs(sphere_renders(), tmp_path / "renders" / "ball.npz")
    (tmp_path / "split.json").write_text(json.dumps({"train": ["ball", "not_rendered"]}))
    data = ReconstructionData(
        tmp_path,
        rendered_ids(tmp_path, "train"),
        image_size_px=32,
        num_points=600,
        num_surface_points=32,
        recipe=RECIPES[recipe],
    )
    drawn = data.draw((5, 5), np.random.default_rng(0))
    assert len(drawn.sources.rgb) == {"stage-1-views": 8, "no-photo": 5}.get(recipe, 6)
    reconstructor = embedded_reconstructor(16, 32)
    history = learn(
        ReconstructionObjective(reconstructor, RECIPES[recipe]),
        lambda slots: [data.draw((5, 5), slot.rng) for slot in slots],
        batch_size=1,
        num_steps=num_steps,
        learning_rate=2e-3,
    )
    errors = [losses[measure] for losses in history]
    assert np.mean(errors[-3:]) < 0.8 * np.mean(errors[:3])


def test_what_predicted_views_do_not_say_is_weighed_less_towards_inside(tmp_path: Path) -> None:
    (tmp_path / "renders").mkdir()
    save_rigs(sphere_renders(), tmp_path / "renders" / "ball.npz")
    data = ReconstructionData(
        tmp_path, ["ball"], image_size_px=32, num_points=600, num_surface_points=32
    )
    true = data.draw((5, 5), np.random.default_rng(0))
    assert not true.is_predicted
    (tmp_path / "predicted").mkdir()
    np.savez(tmp_path / "predicted" / "ball.npz", rgb=sphere_renders().rgb[:1, 8:])
    drawn = [data.draw((5, 5), np.random.default_rng(seed)) for seed in range(8)]
    assert {example.is_predicted for example in drawn} == {True, False}
    objective = ReconstructionObjective(embedded_reconstructor(16, 32))
    inside = true.sdf < 0
    only = replace(true, points=true.points[inside], sdf=true.sdf[inside])
    losses = [
        float(objective([replace(only, is_predicted=predicted)])["sdf"].detach())
        for predicted in (False, True)
    ]
    assert losses[0] == pytest.approx(2.0 / 1.5 * losses[1])


def test_where_predicted_views_are_asked_does_not_give_the_surface_away(tmp_path: Path) -> None:
    """Two thirds of the points lie around the true surface of true views, none of predicted ones:
    those lie around what is guessed, and anywhere."""
    (tmp_path / "renders").mkdir()
    (tmp_path / "predicted").mkdir()
    save_rigs(sphere_renders(), tmp_path / "renders" / "ball.npz")
    np.savez(tmp_path / "predicted" / "ball.npz", rgb=sphere_renders().rgb[:1, 8:])
    data = ReconstructionData(
        tmp_path, ["ball"], image_size_px=32, num_points=3000, num_surface_points=32
    )
    drawn = [data.draw((5, 5), np.random.default_rng(seed)) for seed in range(8)]
    for example in drawn:
        share = ((example.points.norm(dim=1) - RADIUS).abs() < 0.04).float().mean()
        assert share < 0.15 if example.is_predicted else share > 0.4
    assert {example.is_predicted for example in drawn} == {True, False}
    centre = torch.tensor([0.2, -0.3, 0.1])
    nodes = grid_nodes(32)
    held = (nodes - centre).norm(dim=1) < 0.1
    guess = RadianceGrid(
        density=MAX_DENSITY * held.float().view(32, 32, 32), rgb=torch.zeros(3, 32, 32, 32)
    )
    points = data._points_around_guess(guess, torch.Generator().manual_seed(0))
    assert len(points) == 3000
    near = ((points - centre).norm(dim=1) < 0.2).float().mean()
    assert near == pytest.approx(2 / 3, abs=0.05)
    nothing = replace(guess, density=torch.zeros(32, 32, 32))
    points = data._points_around_guess(nothing, torch.Generator().manual_seed(0))
    assert len(points) == 3000 and ((points - centre).norm(dim=1) < 0.2).float().mean() < 0.05


def test_corners_that_no_view_shows_are_outside() -> None:
    target = SdfTarget(sphere_rig(), torch.Generator().manual_seed(0))
    corners = torch.cartesian_prod(*[torch.tensor([-0.62, 0.62])] * 3)
    assert (target(corners) == TRUNCATION).all()


def test_half_of_all_objects_fade_towards_white_in_all_their_pictures() -> None:
    rgb = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16, 1).repeat(3, -1)
    drawn = [random_fading(np.random.default_rng(seed), rgb) for seed in range(60)]
    faded = [pictures for pictures in drawn if (pictures != rgb).any()]
    assert 20 < len(faded) < 40
    for pictures in faded:
        kept = (255.0 - pictures[rgb < 128]) / (255.0 - rgb[rgb < 128])
        assert kept.min() > 0.09 and kept.max() < 1.0 and np.ptp(kept) < 0.01
        assert (pictures[rgb == 255] == 255).all()
    assert min(pictures.min() for pictures in faded) < 100 < max(p.min() for p in faded)


def test_what_a_true_example_is_seen_in_and_learns_from_fades_alike(tmp_path: Path) -> None:
    (tmp_path / "renders").mkdir()
    save_rigs(sphere_renders(), tmp_path / "renders" / "ball.npz")
    data = ReconstructionData(
        tmp_path, ["ball"], image_size_px=32, num_points=60, num_surface_points=32
    )
    darkest = []
    for seed in range(12):
        example = data.draw((5, 5), np.random.default_rng(seed))
        assert float(example.sources.rgb.amin()) == pytest.approx(
            float(example.surface_rgb.mean()), abs=0.15
        )
        darkest.append(float(example.surface_rgb.mean()))
    assert min(darkest) == pytest.approx(90 / 255, abs=0.01) and max(darkest) > 0.7
