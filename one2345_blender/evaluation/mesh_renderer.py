# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures and silhouettes of meshes through the method's own cameras (OpenGL, no screen)."""

from __future__ import annotations

import moderngl
import numpy as np
from numpy.typing import NDArray

from ..contracts.cameras import Viewpoint, c2w_from_viewpoints, method_intrinsics
from ..contracts.mesh import ColoredMesh
from ..training.rasterizer import clip_from_camera, open_context

_VERTEX_SHADER = """
#version 330
in vec3 position; in vec3 color;
uniform mat4 clip_from_world;
out vec3 world_position; out vec3 srgb;
void main() {
    world_position = position;
    srgb = color;
    gl_Position = clip_from_world * vec4(position, 1.0);
}
"""

_FRAGMENT_SHADER = """
#version 330
in vec3 world_position; in vec3 srgb;
uniform vec3 eye; uniform bool is_clay;
out vec4 out_color;
void main() {
    vec3 normal = normalize(cross(dFdx(world_position), dFdy(world_position)));
    float facing = abs(dot(normal, normalize(eye - world_position)));
    out_color = vec4(is_clay ? vec3(0.15 + 0.75 * facing) : srgb, 1.0);
}
"""


class MeshRenderer:
    """Draws meshes into square views. Use as a context manager.

    Args:
        size_px: Side of the views.

    Raises:
        EnvironmentMissingError: OpenGL cannot be started without a screen.
    """

    def __init__(self, size_px: int) -> None:
        self._context = open_context()
        self.size_px = size_px
        self._framebuffer = self._context.simple_framebuffer((size_px, size_px))
        self._program = self._context.program(
            vertex_shader=_VERTEX_SHADER, fragment_shader=_FRAGMENT_SHADER
        )

    def __enter__(self) -> MeshRenderer:
        return self

    def __exit__(self, *_exception: object) -> None:
        self._context.release()

    def render(
        self, mesh: ColoredMesh, viewpoint: Viewpoint, *, is_clay: bool = False
    ) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        """The mesh in its vertex colours, unlit, or as grey clay.

        Returns:
            `(S, S, 3)` uint8 sRGB on white, and the silhouette `(S, S)`.
        """
        (c2w,) = c2w_from_viewpoints([viewpoint])
        clip_from_world = clip_from_camera(
            method_intrinsics(self.size_px), self.size_px
        ) @ np.linalg.inv(c2w.astype(np.float64))
        self._program["clip_from_world"].write(clip_from_world.T.astype("f4").tobytes())
        self._program["eye"].value = tuple(float(x) for x in c2w[:3, 3])
        self._program["is_clay"].value = is_clay
        colors = mesh.vertex_colors[:, :3].astype(np.float32) / 255.0
        corners = np.concatenate([mesh.vertices, colors], axis=1).astype(np.float32)
        vertices = self._context.buffer(corners.tobytes())
        indices = self._context.buffer(mesh.faces.astype(np.uint32).tobytes())
        array = self._context.vertex_array(
            self._program, [(vertices, "3f 3f", "position", "color")], index_buffer=indices
        )
        self._framebuffer.use()
        self._framebuffer.clear(0.0, 0.0, 0.0, 0.0)
        self._context.enable(moderngl.DEPTH_TEST)
        array.render()
        for resource in (array, vertices, indices):
            resource.release()
        side = (self.size_px, self.size_px)
        rgba = np.frombuffer(self._framebuffer.read(components=4), np.uint8)
        rgba = rgba.reshape(*side, 4)[::-1]
        silhouette = rgba[..., 3] > 0
        return np.where(silhouette[..., None], rgba[..., :3], np.uint8(255)), silhouette
