# SPDX-License-Identifier: GPL-3.0-or-later
"""A `ColoredMesh` becomes a mesh datablock with a colour attribute and a material that shows it."""

from __future__ import annotations

from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ..contracts.mesh import ColoredMesh

COLOR_ATTRIBUTE = "Color"
_ROUGHNESS = 0.9


def new_mesh(name: str, mesh: ColoredMesh) -> bpy.types.Mesh:
    """Create a mesh datablock from `mesh`, its vertices taken as they are.

    The colours go into a byte colour attribute, which holds sRGB values; it is the active colour
    (solid viewport shading) and the render colour, and the mesh's material reads it.
    """
    data = bpy.data.meshes.new(name)
    num_faces = len(mesh.faces)
    data.vertices.add(len(mesh.vertices))
    data.loops.add(3 * num_faces)
    data.polygons.add(num_faces)
    # the arrays behind `vertices` and `loops`, which would be set one element after the other
    data.attributes["position"].data.foreach_set("vector", _flat(mesh.vertices, np.float32))
    data.attributes[".corner_vert"].data.foreach_set("value", _flat(mesh.faces, np.int32))
    data.polygons.foreach_set("loop_start", np.arange(0, 3 * num_faces, 3, dtype=np.int32))
    data.update(calc_edges=True)
    data.shade_smooth()
    _set_vertex_colors(data, mesh.vertex_colors)
    data.materials.append(new_vertex_color_material(name))
    return data


def new_vertex_color_material(name: str) -> bpy.types.Material:
    """Create a rough Principled material whose base colour is the colour attribute."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # before Blender 5.0 a material starts without nodes
        material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    nodes.clear()
    attribute = nodes.new("ShaderNodeVertexColor")
    attribute.layer_name = COLOR_ATTRIBUTE
    attribute.location = (-220.0, 0.0)
    principled = nodes.new("ShaderNodeBsdfPrincipled")
    principled.inputs["Roughness"].default_value = _ROUGHNESS
    output = nodes.new("ShaderNodeOutputMaterial")
    output.location = (300.0, 0.0)
    links.new(attribute.outputs["Color"], principled.inputs["Base Color"])
    links.new(principled.outputs["BSDF"], output.inputs["Surface"])
    return material


def _set_vertex_colors(data: bpy.types.Mesh, vertex_colors: NDArray[np.uint8]) -> None:
    """Store `(N, 4)` uint8 sRGB colours; `color_srgb` is the accessor that does not convert."""
    attribute = data.color_attributes.new(COLOR_ATTRIBUTE, "BYTE_COLOR", "POINT")
    attribute.data.foreach_set("color_srgb", _flat(vertex_colors, np.float32) / np.float32(255))
    data.color_attributes.active_color = attribute
    data.color_attributes.render_color_index = data.color_attributes.active_color_index


def _flat(array: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """The array as one contiguous row, the only form that `foreach_set` copies quickly."""
    return np.ascontiguousarray(array, dtype=dtype).ravel()
