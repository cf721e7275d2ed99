# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of the preferences that installs, fetches and removes; drawing only."""

from __future__ import annotations

from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.job_state import JobState, JobStatus
from . import texts
from .installation import INSTALLATION, offline_reason
from .installation_operators import (
    ONE2345_OT_cancel_installation,
    ONE2345_OT_download_weights,
    ONE2345_OT_install_runtime,
    ONE2345_OT_plan_runtime,
    ONE2345_OT_plan_weights,
    ONE2345_OT_remove_runtime,
    ONE2345_OT_remove_weights,
)

_STAGE_NAMES = {
    "preflight": "Looking at this machine",
    "look_up": "Asking for sizes",
    "download": "Downloading",
    "create_environment": "Making the environment",
    "install": "Installing the packages",
    "verify": "Checking",
    "replace": "Putting it in place",
    "import": "Making the preset",
}
_GO_AHEAD = {
    ONE2345_OT_plan_runtime.bl_idname: ONE2345_OT_install_runtime,
    ONE2345_OT_plan_weights.bl_idname: ONE2345_OT_download_weights,
}
"""What follows when the user agrees to the cost."""


def draw_installation(layout: bpy.types.UILayout, *, has_runtime: bool, has_weights: bool) -> None:
    """Buttons; then what is under way, or what became of it."""
    row = layout.row()
    row.operator(ONE2345_OT_plan_runtime.bl_idname, icon="IMPORT")
    if has_runtime:
        row.operator(ONE2345_OT_remove_runtime.bl_idname, icon="TRASH")
    row.operator(ONE2345_OT_plan_weights.bl_idname, icon="IMPORT")
    if has_weights:
        row.operator(ONE2345_OT_remove_weights.bl_idname, icon="TRASH")
    if reason := offline_reason():
        split = layout.split(factor=0.75)
        split.label(text=reason, icon="INTERNET_OFFLINE", translate=False)
        if not bpy.app.online_access_override:
            operator = split.operator("screen.userpref_show", text="System Preferences")
            operator.section = "SYSTEM"
    state = INSTALLATION.state
    if state is None:
        return
    if not state.is_final:
        row = layout.row()
        row.label(text=progress(state), translate=False)
        row.operator(ONE2345_OT_cancel_installation.bl_idname, icon="X")
    elif text := outcome(INSTALLATION.action, state):
        icon = "ERROR" if state.failure is not None else "INFO"
        texts.draw_wrapped(layout, text, icon=icon)
        if state.report is not None and (follows := _GO_AHEAD.get(INSTALLATION.action)):
            layout.operator(follows.bl_idname, icon="CHECKMARK")


def progress(state: JobState) -> str:
    """What the command is about, and how far it is."""
    if state.status is JobStatus.CANCELLING:
        return iface_("Cancelling")
    doing = iface_(_STAGE_NAMES.get(state.stage, "Starting"))
    if not state.steps:
        return doing
    if state.stage == "download":
        return iface_("{}: {:,.0f} of {:,.0f} MB").format(
            doing, state.step / 1e6, state.steps / 1e6
        )
    return iface_("{}: {} of {}").format(doing, state.step, state.steps)


def outcome(action: str, state: JobState) -> str:
    """What became of it: the cost, the freed room, the error."""
    if state.failure is not None:
        return state.failure.brief
    if state.report is None:
        return iface_("Cancelled. What has been downloaded is kept.")
    if "freed_bytes" in state.report:
        return iface_("Removed; {:,.0f} MB are free again.").format(
            state.report["freed_bytes"] / 1e6
        )
    if action in _GO_AHEAD:
        return cost(state.report)
    return iface_("Done.")


def cost(report: dict[str, Any]) -> str:
    """What an installation or a download takes, and what speaks against it."""
    lines = [report["licences"]] if "licences" in report else []
    sizes = (report.get("download_bytes", 0) / 1e6, report.get("needed_bytes", 0) / 1e6)
    lines.append(iface_("{:,.0f} MB to download, {:,.0f} MB of disk needed.").format(*sizes))
    if report.get("status") == "complete":
        lines.append(iface_("It is installed already."))
    for finding in report.get("preflight", ()):
        if finding["status"] != "ok":
            lines.append(f"{finding['name']}: {finding['found']}. {finding['hint']}")
    return "\n".join(lines)
