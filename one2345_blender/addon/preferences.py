# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user sets once: which Python runs the worker, and on which device."""

from pathlib import Path

import bpy

from ..contracts.job import DEVICES
from .package_id import ROOT_PACKAGE, is_extension

_DEVICE_NAMES = {
    "auto": "Automatic",
    "cpu": "CPU",
    "cuda": "CUDA (NVIDIA)",
    "mps": "MPS (Apple)",
    "xpu": "XPU (Intel)",
}
DEFAULT_DEVICE = "auto"


class ONE2345_AP_preferences(bpy.types.AddonPreferences):
    """The extension's page in Blender's preferences."""

    bl_idname = ROOT_PACKAGE

    python_path: bpy.props.StringProperty(
        name="Worker Python",
        description="Python with the pipeline's packages. Empty: the environment variable "
        "ONE2345_PYTHON, else the installed runtime",
        subtype="FILE_PATH",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="Where the networks run",
        items=[(device, _DEVICE_NAMES[device], "") for device in DEVICES],
        default=DEFAULT_DEVICE,
    )

    def draw(self, _context: bpy.types.Context) -> None:
        """Draw the page."""
        self.layout.prop(self, "python_path")
        self.layout.prop(self, "device")


def preferred_python() -> str:
    """The interpreter that the user chose; empty: none."""
    preferences = _preferences()
    return bpy.path.abspath(preferences.python_path) if preferences else ""


def preferred_device() -> str:
    """One of `contracts.job.DEVICES`."""
    preferences = _preferences()
    return preferences.device if preferences else DEFAULT_DEVICE


def runtime_dir() -> Path | None:
    """Where the installed runtime lies; None when the add-on is not installed as an extension."""
    if not is_extension():
        return None
    return Path(bpy.utils.extension_path_user(ROOT_PACKAGE, path="runtime"))


def _preferences() -> ONE2345_AP_preferences | None:
    """The stored preferences; None when the add-on was registered from a script."""
    addon = bpy.context.preferences.addons.get(ROOT_PACKAGE)
    return addon.preferences if addon else None
