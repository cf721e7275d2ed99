# SPDX-License-Identifier: GPL-3.0-or-later
"""The 3D views of all windows: showing colours, redrawing."""

from __future__ import annotations

from collections.abc import Iterator

import bpy


def show_vertex_colors() -> None:
    """Let solid shading show colour attributes where it shows the materials' viewport colours.

    A view that shows anything else was set up by the user and stays as it is.
    """
    for area in _view_3d_areas():
        shading = area.spaces.active.shading
        if shading.type == "SOLID" and shading.color_type == "MATERIAL":
            shading.color_type = "VERTEX"


def redraw() -> None:
    """Redraw the 3D views and their sidebars."""
    for area in _view_3d_areas():
        area.tag_redraw()


def _view_3d_areas() -> Iterator[bpy.types.Area]:
    for window in bpy.context.window_manager.windows:
        yield from (area for area in window.screen.areas if area.type == "VIEW_3D")
