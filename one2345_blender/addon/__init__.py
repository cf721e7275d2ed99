# SPDX-License-Identifier: GPL-3.0-or-later
"""The Blender skin: operators, panel, preferences. The only room that imports bpy."""

from __future__ import annotations

import bpy

from . import (
    diagnostics,
    installation,
    installation_operators,
    job_operators,
    menu,
    object_operators,
    operators,
    panels,
    picture_operators,
    preferences_page,
    properties,
    self_test,
    session,
)
from .cli_command import CLI_COMMAND
from .preview_icons import PREVIEW_ICONS

CLASSES: tuple[type, ...] = (
    preferences_page.ONE2345_AP_preferences,
    properties.ONE2345_PG_settings,
    operators.ONE2345_OT_image_to_mesh,
    picture_operators.ONE2345_OT_drop_pictures,
    picture_operators.ONE2345_OT_paste_picture,
    picture_operators.ONE2345_FH_pictures,
    job_operators.ONE2345_OT_cancel,
    job_operators.ONE2345_OT_place_result,
    job_operators.ONE2345_OT_forget,
    job_operators.ONE2345_OT_open_log,
    job_operators.ONE2345_OT_unload,
    object_operators.ONE2345_OT_frame,
    object_operators.ONE2345_OT_look_through_camera,
    object_operators.ONE2345_OT_another_seed,
    object_operators.ONE2345_OT_refine,
    diagnostics.ONE2345_OT_copy_diagnostics,
    self_test.ONE2345_OT_self_test,
    *installation_operators.CLASSES,
    menu.ONE2345_MT_object,
    panels.ONE2345_PT_main,
    panels.ONE2345_PT_options,
    panels.ONE2345_PT_output,
    panels.ONE2345_PT_result,
    panels.ONE2345_PT_queue,
)


def register() -> None:
    """Add everything to Blender."""
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    properties.attach()
    PREVIEW_ICONS.attach()
    menu.attach()
    CLI_COMMAND.attach()
    session.attach()


def unregister() -> None:
    """Take everything back and end the worker and the installer."""
    installation.detach()
    session.detach()
    CLI_COMMAND.detach()
    menu.detach()
    PREVIEW_ICONS.detach()
    properties.detach()
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
