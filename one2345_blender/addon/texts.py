# SPDX-License-Identifier: GPL-3.0-or-later
"""What the panels say. Composed texts are translated before they are filled in."""

from __future__ import annotations

import textwrap
from typing import Any

import bpy
from bpy.app.translations import pgettext_iface as iface_
from bpy.app.translations import pgettext_n as n_

from ..client.job_queue import Job
from ..client.job_state import JobState, JobStatus
from . import viewport

STAGE_NAMES = {
    "load_models": n_("Loading the networks"),
    "foreground": n_("Finding the object"),
    "views_stage1": n_("Imagining views around it"),
    "elevation": n_("Estimating the elevation"),
    "views_stage2": n_("Imagining tilted views"),
    "features": n_("Reading the views"),
    "cost_volume": n_("Combining the views"),
    "sdf": n_("Computing the surface"),
    "meshing": n_("Making the mesh"),
    "write": n_("Writing the files"),
}
STATUS_NAMES = {
    JobStatus.WAITING: n_("Waiting"),
    JobStatus.STARTING: n_("Starting"),
    JobStatus.RUNNING: n_("Running"),
    JobStatus.CANCELLING: n_("Cancelling"),
    JobStatus.DONE: n_("Done"),
    JobStatus.CANCELLED: n_("Cancelled"),
    JobStatus.FAILED: n_("Failed"),
}
_CHARACTER_PX = 6.8
_MARGINS_PX = 78
"""Of a wrapped text in a box: the sidebar's tabs and borders, and the icon."""


def doing(state: JobState) -> str:
    """What the worker is about."""
    if state.status is JobStatus.CANCELLING:
        return iface_("Cancelling")
    return iface_(STAGE_NAMES.get(state.stage, "Starting the worker"))


def progress(job: Job) -> str:
    """How far a job is and how long it will still take."""
    percent = f"{job.fraction:.0%}"
    left = job.seconds_left
    if left is None:
        return percent
    return iface_("{}, about {} left").format(percent, duration(left))


def duration(seconds: float) -> str:
    """Rounded as one would say it."""
    if seconds < 10.0:
        return iface_("{:.0f} s").format(max(seconds, 1.0))
    if seconds < 90.0:
        return iface_("{:.0f} s").format(5 * round(seconds / 5))
    return iface_("{:.0f} min").format(seconds / 60)


def queued(names: list[str]) -> str:
    """That the conversions wait their turn, and where they can be watched."""
    if len(names) == 1:
        text = iface_("{} is queued; the sidebar (N) shows its progress in the tab One-2-3-45")
        return text.format(names[0])
    text = iface_("{} pictures are queued; the sidebar (N) shows their progress in One-2-3-45")
    return text.format(len(names))


def why_unplaced(*, has_scene: bool) -> str:
    """Why a finished object is in no scene yet."""
    if not has_scene:
        return iface_("Done, but the scene it was made for is not open.")
    if viewport.is_rendering():
        return iface_("Done. The object comes into the scene when the render is over.")
    return iface_("Done. The object comes into the scene when you have let go of the mouse.")


def faces(placed: bpy.types.Object, depsgraph: bpy.types.Depsgraph) -> str:
    """How many the object has as it is shown, and how many without its modifiers."""
    base = len(placed.data.polygons)
    shown = placed.evaluated_get(depsgraph).data
    count = len(shown.polygons) if isinstance(shown, bpy.types.Mesh) else base
    if count == base:
        return f"{base:,}"
    return iface_("{:,} ({:,} without modifiers)").format(count, base)


def elevation(placed: Any) -> str:
    """The elevation in an object's custom properties, and where it is from; one that is neither
    estimated nor certain is the preset's usual value."""
    confidence = placed["one2345_elevation_confidence"]
    if placed["one2345_elevation_estimated"]:
        source = iface_("estimated, {:.0%} sure").format(confidence)
    else:
        source = iface_("as given") if confidence == 1.0 else iface_("assumed")
    return f"{placed['one2345_elevation_deg']:.0f}\u00b0, {source}"


def draw_wrapped(layout: bpy.types.UILayout, text: str, *, icon: str) -> None:
    """Lines that fit the region's width, the icon before the first."""
    context = bpy.context
    width_px = context.region.width / context.preferences.system.ui_scale
    characters = max(int((width_px - _MARGINS_PX) / _CHARACTER_PX), 16)
    column = layout.column(align=True)
    column.scale_y = 0.8
    lines = [part for line in text.splitlines() for part in textwrap.wrap(line, characters)]
    for number, line in enumerate(lines):
        column.label(text=line, icon=icon if number == 0 else "BLANK1", translate=False)
