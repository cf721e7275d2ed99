# SPDX-License-Identifier: GPL-3.0-or-later
"""Colour, coverage, depth and normals of textured models with OpenGL (EGL; Mesa's llvmpipe)."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import reduce

import moderngl
import numpy as np
from numpy.typing import NDArray

from ..contracts.errors import EnvironmentMissingError
from .asset_readers.textured_model import TexturedModel

CLIP_NEAR_FAR = (0.05, 10.0)
"""World units; far outside the object, so nothing is cut."""
GLASS_COLOR = (0.85, 0.88, 0.9)
"""What a fully transparent pane fades to, sRGB: glass is drawn as a pale solid."""

_VERTEX_SHADER = """
#version 330
in vec3 position; in vec3 normal; in vec2 uv;
uniform mat4 clip_from_model; uniform mat4 world_from_model; uniform mat3 turn;
out vec3 world_position; out vec3 world_normal; out vec2 texture_uv; out float view_depth;
void main() {
    world_position = (world_from_model * vec4(position, 1.0)).xyz;
    world_normal = turn * normal;
    texture_uv = uv;
    gl_Position = clip_from_model * vec4(position, 1.0);
    view_depth = gl_Position.w;
}
"""

_FRAGMENT_SHADER = """
#version 330
in vec3 world_position; in vec3 world_normal; in vec2 texture_uv; in float view_depth;
uniform sampler2D color_texture; uniform bool has_texture;
uniform vec3 base_color; uniform float opacity; uniform vec3 glass_color;
uniform vec3 eye; uniform vec3 key_direction; uniform vec3 key_color;
uniform vec3 fill_color; uniform vec3 ambient_color;
layout(location = 0) out vec4 out_color;
layout(location = 1) out float out_depth;
layout(location = 2) out vec4 out_normal;
void main() {
    vec3 srgb = base_color;
    if (has_texture) {
        vec4 texel = texture(color_texture, texture_uv);
        if (texel.a < 0.5) discard;
        srgb = texel.rgb;
    }
    vec3 albedo = pow(mix(glass_color, srgb, opacity), vec3(2.2));
    vec3 n = normalize(world_normal);
    if (dot(n, eye - world_position) < 0.0) n = -n;
    vec3 fill_direction = vec3(-key_direction.xy, 0.3 * key_direction.z);
    vec3 light = ambient_color * (0.8 + 0.2 * n.z)
        + key_color * max(dot(n, key_direction), 0.0)
        + fill_color * max(dot(n, normalize(fill_direction)), 0.0);
    out_color = vec4(pow(min(albedo * light, 1.0), vec3(1.0 / 2.2)), 1.0);
    out_depth = view_depth;
    out_normal = vec4(n, 1.0);
}
"""


@dataclass(frozen=True, kw_only=True)
class Lighting:
    """A key light, a weak fill from the other side and an ambient term, fixed in the world."""

    key_direction: tuple[float, float, float]
    """Unit vector towards the light."""
    key_color: tuple[float, float, float]
    """Linear, as all colours here."""
    fill_color: tuple[float, float, float]
    ambient_color: tuple[float, float, float]


DEFAULT_LIGHTING = Lighting(
    key_direction=(-0.4243, -0.5657, 0.7071),
    key_color=(0.6, 0.6, 0.6),
    fill_color=(0.12, 0.12, 0.12),
    ambient_color=(0.42, 0.42, 0.42),
)


@dataclass(frozen=True, kw_only=True)
class RenderedView:
    """One picture of a model."""

    rgb: NDArray[np.uint8]
    """`(H, W, 3)` sRGB on white."""
    mask: NDArray[np.uint8]
    """`(H, W)` share of the pixel that the object covers, 0..255."""
    depth: NDArray[np.float32]
    """`(H, W)` along the view axis, world units, nearest sample of the pixel; 0 = background."""
    normal: NDArray[np.float32] | None = None
    """`(H, W, 3)` unit vectors of that sample towards the camera's side, world axes; 0 =
    background."""


class Rasterizer:
    """Draws one model at a time into square views. Use as a context manager.

    Args:
        size_px: Side of the views.
        supersampling: Samples per pixel and axis.
        with_normals: Views get their normals, too.

    Raises:
        EnvironmentMissingError: OpenGL cannot be started without a screen.
    """

    def __init__(self, size_px: int, *, supersampling: int = 2, with_normals: bool = False) -> None:
        self._context = open_context()
        self.size_px = size_px
        self._supersampling = supersampling
        side = (size_px * supersampling,) * 2
        self._color = self._context.texture(side, 4)
        self._depth = self._context.texture(side, 1, dtype="f4")
        self._normal = self._context.texture(side, 4, dtype="f2") if with_normals else None
        targets = [self._color, self._depth, *([self._normal] if self._normal else [])]
        self._framebuffer = self._context.framebuffer(
            targets, self._context.depth_renderbuffer(side)
        )
        self._program = self._context.program(
            vertex_shader=_VERTEX_SHADER, fragment_shader=_FRAGMENT_SHADER
        )
        self._set_uniforms(glass_color=GLASS_COLOR, color_texture=0)
        self._blank = self._context.texture((1, 1), 4, b"\xff" * 4)
        self._draws: list[_Draw] = []

    def __enter__(self) -> Rasterizer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._release_model()
        self._context.release()

    def set_model(self, model: TexturedModel) -> None:
        """Put a model on the device in place of the one before."""
        self._release_model()
        textures: dict[int, moderngl.Texture] = {}
        for part in model.parts:
            corners = np.concatenate([part.positions, part.normals, part.uv], axis=1)
            buffer = self._context.buffer(np.ascontiguousarray(corners, np.float32).tobytes())
            if part.texture is not None and id(part.texture) not in textures:
                textures[id(part.texture)] = self._upload_texture(part.texture)
            self._draws.append(
                _Draw(
                    array=self._context.vertex_array(
                        self._program, [(buffer, "3f 3f 2f", "position", "normal", "uv")]
                    ),
                    buffer=buffer,
                    texture=None if part.texture is None else textures[id(part.texture)],
                    base_color=part.base_color,
                    opacity=part.opacity,
                )
            )

    def render(
        self,
        c2w: NDArray[np.floating],
        K: NDArray[np.floating],
        *,
        world_from_model: NDArray[np.floating],
        lighting: Lighting = DEFAULT_LIGHTING,
    ) -> RenderedView:
        """Draw the model from one camera.

        Args:
            c2w: `(4, 4)` camera to world, OpenCV axes.
            K: `(3, 3)` intrinsics; the middle of pixel `i` lies at coordinate `i`.
            world_from_model: `(4, 4)` similarity.
            lighting: Lights, world frame.
        """
        clip_from_model = (
            clip_from_camera(K, self.size_px)
            @ np.linalg.inv(np.asarray(c2w, np.float64))
            @ world_from_model
        )
        linear = np.asarray(world_from_model, np.float64)[:3, :3]
        turn = linear / np.cbrt(np.linalg.det(linear))
        self._set_uniforms(
            clip_from_model=_columns(clip_from_model),
            world_from_model=_columns(world_from_model),
            turn=_columns(turn),
            eye=tuple(float(x) for x in c2w[:3, 3]),
            key_direction=lighting.key_direction,
            key_color=lighting.key_color,
            fill_color=lighting.fill_color,
            ambient_color=lighting.ambient_color,
        )
        self._framebuffer.use()
        self._framebuffer.clear(0.0, 0.0, 0.0, 0.0)
        self._context.enable(moderngl.DEPTH_TEST)
        for draw in self._draws:
            self._set_uniforms(
                has_texture=draw.texture is not None,
                base_color=draw.base_color,
                opacity=draw.opacity,
            )
            (draw.texture or self._blank).use(0)
            draw.array.render()
        return self._read_view()

    def _set_uniforms(self, **values: float | tuple[float, ...]) -> None:
        for name, value in values.items():
            uniform = self._program[name]
            assert isinstance(uniform, moderngl.Uniform)
            uniform.value = value

    def _upload_texture(self, pixels: NDArray[np.uint8]) -> moderngl.Texture:
        height, width = pixels.shape[:2]
        texture = self._context.texture((width, height), 4, pixels[::-1].tobytes())
        texture.build_mipmaps()
        texture.filter = (moderngl.LINEAR_MIPMAP_LINEAR, moderngl.LINEAR)
        return texture

    def _read_view(self) -> RenderedView:
        factor = self._supersampling
        side = self.size_px * factor
        color = np.frombuffer(self._color.read(), np.uint8).reshape(side, side, 4)[::-1]
        depth = np.frombuffer(self._depth.read(), np.float32).reshape(side, side)[::-1]
        depth = np.where(depth > 0.0, depth, np.float32(np.inf))
        # One (size, size) picture per sample of a pixel; adding these is far faster than reducing
        # over axes of length two.
        offsets = list(np.ndindex(factor, factor))
        summed = reduce(np.add, (color[r::factor, c::factor].astype(np.uint16) for r, c in offsets))
        nearest = reduce(np.minimum, (depth[r::factor, c::factor] for r, c in offsets))
        samples = len(offsets)
        covered = summed[..., 3:]
        on_white = summed[..., :3] + (255 * samples - covered)  # black where uncovered
        return RenderedView(
            rgb=((on_white + samples // 2) // samples).astype(np.uint8),
            mask=((covered[..., 0] + samples // 2) // samples).astype(np.uint8),
            depth=np.where(np.isfinite(nearest), nearest, 0.0).astype(np.float32),
            normal=None if self._normal is None else self._read_normals(depth, nearest),
        )

    def _read_normals(
        self, depth: NDArray[np.float32], nearest: NDArray[np.float32]
    ) -> NDArray[np.float32]:
        """Of each pixel's nearest sample, `(H, W, 3)`.

        Args:
            depth: Of all samples.
            nearest: `(H, W)`, infinite where there is none.
        """
        assert self._normal is not None
        factor = self._supersampling
        samples = np.frombuffer(self._normal.read(), np.float16).reshape(*depth.shape, 4)[::-1]
        normal = np.zeros((*nearest.shape, 3), np.float32)
        for row, column in np.ndindex(factor, factor):
            is_nearest = depth[row::factor, column::factor] == nearest
            normal[is_nearest] = samples[row::factor, column::factor, :3][is_nearest]
        return normal

    def _release_model(self) -> None:
        textures = {id(draw.texture): draw.texture for draw in self._draws if draw.texture}
        for draw in self._draws:
            draw.array.release()
            draw.buffer.release()
        for texture in textures.values():
            texture.release()
        self._draws = []


@dataclass(frozen=True, kw_only=True)
class _Draw:
    array: moderngl.VertexArray
    buffer: moderngl.Buffer
    texture: moderngl.Texture | None
    base_color: tuple[float, float, float]
    opacity: float


def _columns(matrix: NDArray[np.floating]) -> tuple[float, ...]:
    """A matrix's entries column by column, as OpenGL takes them."""
    return tuple(matrix.T.ravel().tolist())


def open_context() -> moderngl.Context:
    """An OpenGL context without a screen.

    Raises:
        EnvironmentMissingError: OpenGL cannot be started.
    """
    os.environ.setdefault("LP_NUM_THREADS", "1")
    try:
        return moderngl.create_context(standalone=True, backend="egl")
    except Exception as error:  # moderngl raises bare Exception
        raise EnvironmentMissingError(
            f"Expected OpenGL through EGL, but it cannot be started: {error}.",
            hint="Run scripts/install_training_packages.sh (libegl1, libgl1-mesa-dri).",
        ) from error


def clip_from_camera(K: NDArray[np.floating], size_px: int) -> NDArray[np.float64]:
    """OpenGL's projection `(4, 4)` for OpenCV camera axes; clip w is the depth.

    OpenGL counts from the frame's edge, where the middle of pixel 0 lies at 0.5.
    """
    near, far = CLIP_NEAR_FAR
    (fx, _, cx), (_, fy, cy) = np.asarray(K, np.float64)[:2]
    return np.array(
        [
            [2.0 * fx / size_px, 0.0, 2.0 * (cx + 0.5) / size_px - 1.0, 0.0],
            [0.0, -2.0 * fy / size_px, 1.0 - 2.0 * (cy + 0.5) / size_px, 0.0],
            [0.0, 0.0, (far + near) / (far - near), -2.0 * far * near / (far - near)],
            [0.0, 0.0, 1.0, 0.0],
        ]
    )
