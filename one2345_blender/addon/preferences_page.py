# SPDX-License-Identifier: GPL-3.0-or-later
"""The extension's page in Blender's preferences."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..contracts.errors import EnvironmentMissingError
from ..contracts.job import PRESETS
from ..contracts.preset_location import packaged_preset, user_presets_folder
from . import preferences, texts
from .diagnostics import ONE2345_OT_copy_diagnostics
from .installation import PUBLISHED_PRESET, SIZES, worker_python
from .installation_box import draw_installation
from .job_operators import ONE2345_OT_unload
from .package_id import ROOT_PACKAGE
from .properties import PRESET_NAMES
from .self_test import ONE2345_OT_self_test, outcome, self_test_job


class ONE2345_AP_preferences(preferences.PreferenceValues, bpy.types.AddonPreferences):
    """Where things are, how they run, and whether they work."""

    bl_idname = ROOT_PACKAGE

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the page."""
        layout = self.layout
        box = layout.box()
        runtime, *weights = places()
        for place in (runtime, *weights):
            _draw_place(box, place)
        draw_installation(
            box,
            has_runtime=runtime.folder is not None and runtime.folder == preferences.runtime_dir(),
            has_weights=_weights(PUBLISHED_PRESET).folder is not None,
        )
        column = layout.column()
        column.use_property_split = True
        for name in preferences.PreferenceValues.__annotations__:
            column.prop(self, name)
        row = layout.row()
        row.operator(ONE2345_OT_self_test.bl_idname, icon="PLAY")
        row.operator(ONE2345_OT_copy_diagnostics.bl_idname, icon="COPYDOWN")
        row.operator(ONE2345_OT_unload.bl_idname, icon="MEMORY")
        if (job := self_test_job()) is not None:
            icon = "ERROR" if job.state.failure is not None else "INFO"
            texts.draw_wrapped(layout, outcome(job), icon=icon)


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where something lies that takes room on the disk."""

    name: str
    text: str
    """Where it is, or why it is not there."""
    folder: Path | None = None
    """What is measured; None: nothing, or not ours."""
    is_missing: bool = False
    """Nothing works without it."""


def places() -> list[Place]:
    """The runtime, and the weights of each preset."""
    return [_runtime(), *map(_weights, PRESETS)]


def _runtime() -> Place:
    """The environment of the worker's Python; a Python of the system is not measured."""
    try:
        python = worker_python()
    except EnvironmentMissingError as error:
        return Place(name="Runtime", text=error.message, is_missing=True)
    environment = python.parent.parent
    is_own = (environment / "pyvenv.cfg").is_file()
    return Place(name="Runtime", text=str(python), folder=environment if is_own else None)


def _weights(preset: str) -> Place:
    """Those of a preset; only the embedded ones come with the extension."""
    name, _ = PRESET_NAMES[preset]
    for folder in (packaged_preset(preset), user_presets_folder() / preset):
        if folder.is_dir():
            return Place(name=name, text=str(folder), folder=folder)
    return Place(name=name, text=iface_("Not on this machine"))


def _draw_place(layout: bpy.types.UILayout, place: Place) -> None:
    text = place.text
    if place.folder is not None:
        size_bytes = SIZES.size_bytes(place.folder)
        size = iface_("measuring") if size_bytes is None else f"{size_bytes / 1e6:,.0f} MB"
        text = f"{text}  ({size})"
    split = layout.split(factor=0.25)
    split.label(text=place.name)
    split.label(text=text, icon="ERROR" if place.is_missing else "NONE", translate=False)
