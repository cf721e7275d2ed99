# SPDX-License-Identifier: GPL-3.0-or-later
"""What is said at once to someone who does not look at the sidebar."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.job_queue import Job
from . import viewport

TAB = "One-2-3-45"
"""The sidebar's."""
_CHARACTERS = 80
_MAX_NAMES = 4


def tell_failures(jobs: Sequence[Job]) -> None:
    """Let the reasons pop up at the mouse, as Blender lets the errors of its operators, where no
    sidebar shows them."""
    windows = bpy.context.window_manager.windows
    if bpy.app.background or not windows or viewport.is_tab_shown(TAB):
        return
    reasons = dict.fromkeys(job.state.failure.brief for job in jobs if job.state.failure)
    lines = [
        part
        for reason in reasons
        for line in reason.splitlines()
        for part in textwrap.wrap(line, _CHARACTERS)
    ]

    def draw(popup: bpy.types.Menu, _context: bpy.types.Context) -> None:
        for line in lines:
            popup.layout.label(text=line, translate=False)

    names = ", ".join(job.spec.image_path.stem for job in jobs[:_MAX_NAMES])
    more = ", …" if len(jobs) > _MAX_NAMES else ""
    title = iface_("Image to Mesh failed: {}").format(names + more)
    with bpy.context.temp_override(window=windows[0]):
        bpy.context.window_manager.popup_menu(draw, title=title, icon="ERROR")
