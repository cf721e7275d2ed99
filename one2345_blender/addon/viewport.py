# SPDX-License-Identifier: GPL-3.0-or-later
"""The editors of all windows: showing colours, redrawing, what the user is about."""

from __future__ import annotations

from collections.abc import Iterator

import bpy

_HOLDS_USER = {"BLOCKING", "GRAB_CURSOR"}
"""Options of modal operators that have the user's mouse."""


def show_vertex_colors() -> None:
    """Let solid shading show colour attributes where it shows the materials' viewport colours.

    A view that shows anything else was set up by the user and stays as it is.
    """
    for area in _areas("VIEW_3D"):
        shading = area.spaces.active.shading
        if shading.type == "SOLID" and shading.color_type == "MATERIAL":
            shading.color_type = "VERTEX"


def redraw() -> None:
    """Redraw the sidebars of the 3D views, not the views themselves, and the preferences."""
    for area in _areas("VIEW_3D"):
        for region in area.regions:
            if region.type == "UI":
                region.tag_redraw()
    for area in _areas("PREFERENCES"):
        area.tag_redraw()


def is_tab_shown(category: str) -> bool:
    """True if some 3D view shows that tab of its sidebar."""
    return any(
        region.type == "UI" and region.active_panel_category == category
        for area in _areas("VIEW_3D")
        if area.spaces.active.show_region_ui
        for region in area.regions
    )


def is_rendering() -> bool:
    """True while Blender renders in the background of its window."""
    return bpy.app.is_job_running("RENDER")


def is_user_busy() -> bool:
    """True in the middle of a transform, a stroke or the like, which no undo step may interrupt."""
    return any(
        not _HOLDS_USER.isdisjoint(operator.bl_options)
        for window in bpy.context.window_manager.windows
        for operator in window.modal_operators
    )


def _areas(area_type: str) -> Iterator[bpy.types.Area]:
    for window in bpy.context.window_manager.windows:
        yield from (area for area in window.screen.areas if area.type == area_type)
