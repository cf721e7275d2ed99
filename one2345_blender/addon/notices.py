# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said at once to someone who does not look at the sidebar."""

from __future__ import annotations

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.job_queue import Job
from . import viewport

TAB = "One-2-3-45"
"""The sidebar's."""


def tell_failure(job: Job) -> None:
    """Let the reason pop up at the mouse, as Blender lets the errors of its operators, where no
    sidebar shows it."""
    failure, windows = job.state.failure, bpy.context.window_manager.windows
    if failure is None or bpy.app.background or not windows or viewport.is_tab_shown(TAB):
        return

    def draw(popup: bpy.types.Menu, _context: bpy.types.Context) -> None:
        for line in failure.brief.splitlines():
            popup.layout.label(text=line, translate=False)

    title = iface_("Image to Mesh failed: {}").format(job.spec.image_path.stem)
    with bpy.context.temp_override(window=windows[0]):
        bpy.context.window_manager.popup_menu(draw, title=title, icon="ERROR")
