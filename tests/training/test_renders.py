# SPDX-License-Identifier: GPL-3.0-or-later
"""The rasterizer and the rendered views against geometry that is known exactly."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.ndimage import maximum_filter

from one2345_blender.contracts.cameras import (
    CAMERA_RADIUS,
    Viewpoint,
    c2w_from_viewpoints,
    method_intrinsics,
    px_from_world,
)
from one2345_blender.contracts.errors import EnvironmentMissingError
from one2345_blender.pipeline.view_schedule import method_viewpoints

moderngl = pytest.importorskip("moderngl", reason="moderngl is not installed")

from one2345_blender.training.asset_readers.textured_model import (  # noqa: E402
    MeshPart,
    TexturedModel,
)
from one2345_blender.training.framing import (  # noqa: E402
    MAX_OBJECT_RADIUS,
    VIEW_SIZE_PX,
    world_from_model,
)
from one2345_blender.training.rasterizer import Lighting, Rasterizer  # noqa: E402
from one2345_blender.training.renders import (  # noqa: E402
    RenderedRigs,
    is_rendered,
    load_rigs,
    render_rigs,
    save_rigs,
)

RED, GREEN, BLUE, WHITE = (1.0, 0.0, 0.0), (0.0, 1.0, 0.0), (0.0, 0.0, 1.0), (1.0, 1.0, 1.0)
AMBIENT_ONLY = Lighting(
    key_direction=(0.0, 0.0, 1.0),
    key_color=(0.0, 0.0, 0.0),
    fill_color=(0.0, 0.0, 0.0),
    ambient_color=(1.25, 1.25, 1.25),
)


@pytest.fixture(scope="module")
def rasterizer():
    try:
        with Rasterizer(VIEW_SIZE_PX, with_normals=True) as opened:
            yield opened
    except EnvironmentMissingError as error:
        pytest.skip(error.message)


def part(triangles: np.ndarray, color=WHITE, texture=None, uv=None) -> MeshPart:
    """A part of `(F, 3, 3)` triangles with face normals."""
    normals = np.cross(triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0])
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    corners = triangles.reshape(-1, 3).astype(np.float32)
    return MeshPart(
        positions=corners,
        normals=np.repeat(normals, 3, axis=0).astype(np.float32),
        uv=np.zeros((len(corners), 2), np.float32) if uv is None else uv,
        base_color=color,
        opacity=1.0,
        texture=texture,
    )


def quad(a, b, c, d) -> np.ndarray:
    """Two triangles `(2, 3, 3)`."""
    return np.array([[a, b, c], [a, c, d]], np.float64)


def sphere(radius: float) -> TexturedModel:
    """A fine latitude-longitude sphere around the origin."""
    polar, azimuth = np.meshgrid(np.linspace(0, np.pi, 97), np.linspace(0, 2 * np.pi, 193))
    points = radius * np.stack(
        [np.sin(polar) * np.cos(azimuth), np.sin(polar) * np.sin(azimuth), np.cos(polar)], -1
    )
    a, b, c, d = points[:-1, :-1], points[1:, :-1], points[1:, 1:], points[:-1, 1:]
    triangles = np.stack([a, b, c, a, c, d], -2).reshape(-1, 3, 3)
    return TexturedModel(parts=(part(triangles),))


def painted_box(size: tuple[float, float, float]) -> TexturedModel:
    """A box whose front (-Y) is red, right side (+X) green, top blue, the rest white."""
    x, y, z = np.array(size) / 2.0
    faces = {
        RED: quad((-x, -y, -z), (x, -y, -z), (x, -y, z), (-x, -y, z)),
        GREEN: quad((x, -y, -z), (x, y, -z), (x, y, z), (x, -y, z)),
        BLUE: quad((-x, -y, z), (x, -y, z), (x, y, z), (-x, y, z)),
    }
    rest = np.concatenate(
        [
            quad((-x, y, -z), (x, y, -z), (x, y, z), (-x, y, z)),
            quad((-x, -y, -z), (-x, y, -z), (-x, y, z), (-x, -y, z)),
            quad((-x, -y, -z), (x, -y, -z), (x, y, -z), (-x, y, -z)),
        ]
    )
    parts = [part(triangles, color) for color, triangles in faces.items()]
    return TexturedModel(parts=(*parts, part(rest)))


def camera(azimuth_deg: float, elevation_deg: float) -> np.ndarray:
    view = Viewpoint(name="view", azimuth_deg=azimuth_deg, elevation_deg=elevation_deg)
    return c2w_from_viewpoints([view])[0]


def test_sphere_silhouette_and_depth_are_analytic(rasterizer):
    radius = 0.4
    K = method_intrinsics(VIEW_SIZE_PX)
    rasterizer.set_model(sphere(radius))
    view = rasterizer.render(camera(37.0, 25.0), K, world_from_model=np.eye(4))

    tangent_px = K[0, 0] * radius / np.sqrt(CAMERA_RADIUS**2 - radius**2)
    area_px = view.mask.sum() / 255.0
    assert np.sqrt(area_px / np.pi) == pytest.approx(tangent_px, rel=0.005)

    rows, columns = np.nonzero(view.mask == 255)
    rays = np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1]], -1)
    length_squared = 1.0 + (rays**2).sum(-1)
    inside = CAMERA_RADIUS**2 - length_squared * (CAMERA_RADIUS**2 - radius**2)
    expected = (CAMERA_RADIUS - np.sqrt(np.maximum(inside, 0.0))) / length_squared
    middle = (rays**2).sum(-1) < (0.7 * radius / CAMERA_RADIUS) ** 2
    error = view.depth[rows, columns] - expected
    assert np.abs(error[middle]).max() < 0.005
    assert (view.depth[view.mask == 0] == 0.0).all()
    assert (view.rgb[view.mask == 0] == 255).all()


def test_silhouette_is_centred_on_the_principal_point(rasterizer):
    """The middle of pixel `i` lies at coordinate `i`, as in the original."""
    rasterizer.set_model(sphere(0.3))
    K = method_intrinsics(VIEW_SIZE_PX)
    mask = rasterizer.render(camera(0.0, 0.0), K, world_from_model=np.eye(4)).mask / 255.0
    index = np.arange(VIEW_SIZE_PX)
    assert (mask.sum(0) @ index) / mask.sum() == pytest.approx(K[0, 2], abs=0.05)
    assert (mask.sum(1) @ index) / mask.sum() == pytest.approx(K[1, 2], abs=0.05)


@pytest.mark.parametrize(
    ("azimuth_deg", "elevation_deg", "color"),
    [(0.0, 0.0, RED), (90.0, 0.0, GREEN), (0.0, 89.0, BLUE)],
)
def test_camera_sees_the_side_it_stands_on(rasterizer, azimuth_deg, elevation_deg, color):
    rasterizer.set_model(painted_box((0.5, 0.5, 0.5)))
    K = method_intrinsics(VIEW_SIZE_PX)
    view = rasterizer.render(
        camera(azimuth_deg, elevation_deg), K, world_from_model=np.eye(4), lighting=AMBIENT_ONLY
    )
    middle = view.rgb[VIEW_SIZE_PX // 2, VIEW_SIZE_PX // 2] / 255.0
    assert middle == pytest.approx(color, abs=0.12)


def test_texture_is_upright_and_replaces_the_base_colour(rasterizer):
    texture = np.zeros((2, 2, 4), np.uint8)
    texture[..., 3] = 255
    texture[0, :, 0] = 255  # first row, on top: red
    texture[1, :, 2] = 255  # below: blue
    uv = np.array([[0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]], np.float32)
    front = quad((-0.3, 0, -0.3), (0.3, 0, -0.3), (0.3, 0, 0.3), (-0.3, 0, 0.3))
    rasterizer.set_model(TexturedModel(parts=(part(front, texture=texture, uv=uv),)))
    K = method_intrinsics(VIEW_SIZE_PX)
    rgb = rasterizer.render(
        camera(0.0, 0.0), K, world_from_model=np.eye(4), lighting=AMBIENT_ONLY
    ).rgb.astype(int)
    above, below = rgb[VIEW_SIZE_PX // 2 - 20, 64], rgb[VIEW_SIZE_PX // 2 + 20, 64]
    assert above[0] > 200 and above[2] < 60
    assert below[2] > 200 and below[0] < 60


@pytest.mark.parametrize("yaw_deg", [0.0, 40.0, 215.0])
@pytest.mark.parametrize("elevation_deg", [-10.0, 20.0, 60.0])
def test_input_view_is_framed_as_a_prepared_photograph(yaw_deg, elevation_deg):
    points = painted_box((1.0, 0.7, 0.9)).points + np.array([3.0, -2.0, 5.0])
    similarity = world_from_model(
        points, yaw_deg=yaw_deg, elevation_deg=elevation_deg, object_fraction=0.6
    )
    world = points @ similarity[:3, :3].T + similarity[:3, 3]
    px, _depth = px_from_world(world, camera(0.0, elevation_deg), method_intrinsics(VIEW_SIZE_PX))
    low, high = px.min(0), px.max(0)
    assert (low + high) / 2.0 == pytest.approx((VIEW_SIZE_PX - 1) / 2.0, abs=0.1)
    assert (high - low).max() / VIEW_SIZE_PX == pytest.approx(0.6, abs=0.002)
    assert similarity[:3, 2] / np.linalg.norm(similarity[:3, 2]) == pytest.approx([0, 0, 1])


def test_long_objects_stay_inside_the_volume():
    points = painted_box((0.2, 4.0, 0.2)).points
    similarity = world_from_model(points, yaw_deg=0.0, elevation_deg=0.0, object_fraction=0.8)
    world = points @ similarity[:3, :3].T + similarity[:3, 3]
    assert np.linalg.norm(world, axis=1).max() == pytest.approx(MAX_OBJECT_RADIUS, rel=0.01)


def seen_in_all(rigs: RenderedRigs, rig: int, views: list[Viewpoint]) -> np.ndarray:
    """Share `(V,)` of the input view's surface points that fall on each view's silhouette, to a
    pixel, if the views are the given ones."""
    K = method_intrinsics(VIEW_SIZE_PX)
    c2w = c2w_from_viewpoints(views)
    rows, columns = np.nonzero(rigs.mask[rig, 0] == 255)
    depth = rigs.depth[rig, 0, rows, columns].astype(np.float64)
    rays = np.stack([(columns - K[0, 2]) / K[0, 0], (rows - K[1, 2]) / K[1, 1], rows**0.0], -1)
    world = (rays * depth[:, None]) @ c2w[0, :3, :3].T + c2w[0, :3, 3]
    shares = []
    for view in range(len(views)):
        px, _depth = px_from_world(world, c2w[view], K)
        column, row = np.rint(px[((px > 0) & (px < VIEW_SIZE_PX - 1)).all(axis=1)]).astype(int).T
        grown = maximum_filter(rigs.mask[rig, view], size=3)
        shares.append((grown[row, column] > 0).mean())
    return np.array(shares)


def test_rigs_follow_the_view_schedule_and_their_seed(rasterizer, tmp_path: Path):
    model = painted_box((0.6, 0.4, 0.5))
    rigs = render_rigs(model, rasterizer, num_rigs=2, seed_text="box")
    assert rigs.rgb.shape == (2, 40, VIEW_SIZE_PX, VIEW_SIZE_PX, 3)
    assert rigs.depth.dtype == np.float16
    assert ((rigs.depth > 0) == (rigs.mask > 0)).all()
    assert rigs.survey_depth.shape == (2, 32, VIEW_SIZE_PX, VIEW_SIZE_PX)
    assert (rigs.survey_depth > 0).any((2, 3)).all()

    for rig in range(2):
        views = method_viewpoints(float(rigs.elevation_deg[rig]))
        assert seen_in_all(rigs, rig, views).min() > 0.995
        exchanged = [*views[:10], views[11], views[10], *views[12:]]
        assert seen_in_all(rigs, rig, exchanged)[10:12].min() < 0.99

    path = tmp_path / "box.npz"
    assert not is_rendered(path)
    save_rigs(rigs, path)
    assert is_rendered(path)
    arrays = {name: array for name, array in vars(rigs).items() if array is not None}
    del arrays["survey_depth"]  # as they were until 0.1.0
    np.savez(tmp_path / "old.npz", **arrays)
    assert not is_rendered(tmp_path / "old.npz")
    again = render_rigs(model, rasterizer, num_rigs=2, seed_text="box")
    assert (load_rigs(path).rgb == again.rgb).all()
    other = render_rigs(model, rasterizer, num_rigs=1, seed_text="other")
    assert (other.elevation_deg[0] != rigs.elevation_deg).all()


def test_normals_of_a_sphere_point_away_from_its_middle(rasterizer, tmp_path) -> None:
    rigs = render_rigs(sphere(0.4), rasterizer, num_rigs=1, seed_text="normals")
    save_rigs(rigs, tmp_path / "ball.npz")
    normal = load_rigs(tmp_path / "ball.npz").normal
    assert normal is not None and normal.dtype == np.int8
    viewpoints = method_viewpoints(float(rigs.elevation_deg[0]))
    K = method_intrinsics(VIEW_SIZE_PX)
    middles = []
    for view in (0, 5, 17):
        depth = rigs.depth[0, view].astype(np.float64)
        row, column = np.nonzero(rigs.mask[0, view] == 255)
        assert not normal[0, view][rigs.mask[0, view] == 0].any()
        before_camera = np.stack([column, row, np.ones_like(row)], 1) @ np.linalg.inv(K).T
        c2w = c2w_from_viewpoints([viewpoints[view]])[0]
        points = (before_camera * depth[row, column, None]) @ c2w[:3, :3].T + c2w[:3, 3]
        directions = normal[0, view, row, column] / 127.0
        np.testing.assert_allclose(np.linalg.norm(directions, axis=1), 1.0, atol=0.02)
        assert ((c2w[:3, 3] - points) * directions).sum(1).min() > 0
        middle_and_radius = np.linalg.lstsq(
            np.concatenate([np.tile(np.eye(3), (len(points), 1)), directions.reshape(-1, 1)], 1),
            points.reshape(-1),
            rcond=None,
        )[0]
        middle, radius = middle_and_radius[:3], middle_and_radius[3]
        middles.append(middle)
        np.testing.assert_allclose(
            points - radius * directions, np.tile(middle, (len(points), 1)), atol=0.03
        )
    np.testing.assert_allclose(middles, np.tile(middles[0], (3, 1)), atol=0.01)


@pytest.mark.usefixtures("rasterizer")
def test_views_have_no_normals_unless_asked(tmp_path) -> None:
    with Rasterizer(32) as plain:
        rigs = render_rigs(sphere(0.4), plain, num_rigs=1, seed_text="plain")
    assert rigs.normal is None
    save_rigs(rigs, tmp_path / "ball.npz")
    assert load_rigs(tmp_path / "ball.npz").normal is None
