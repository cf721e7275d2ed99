# SPDX-License-Identifier: GPL-3.0-or-later
"""The 3D views of all windows: showing colours, redrawing."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

_HOLDS_USER = {"BLOCKING", "GRAB_CURSOR"}
"""Options of modal operators that have the user's mouse."""


def show_vertex_colors() -> None:
    """Let solid shading show colour attributes where it shows the materials' viewport colours.

    A view that shows anything else was set up by the user and stays as it is.
    """
    for area in _view_3d_areas():
        shading = area.spaces.active.shading
        if shading.type == "SOLID" and shading.color_type == "MATERIAL":
            shading.color_type = "VERTEX"


def redraw_sidebars() -> None:
    """Redraw the sidebars of the 3D views, not the views themselves."""
    for area in _view_3d_areas():
        for region in area.regions:
            if region.type == "UI":
                region.tag_redraw()


def is_user_busy() -> bool:
    """True in the middle of a transform, a stroke or the like, which no undo step may interrupt."""
    return any(
        not _HOLDS_USER.isdisjoint(operator.bl_options)
        for window in bpy.context.window_manager.windows
        for operator in window.modal_operators
    )


def _view_3d_areas() -> Iterator[bpy.types.Area]:
    for window in bpy.context.window_manager.windows:
        yield from (area for area in window.screen.areas if area.type == "VIEW_3D")
