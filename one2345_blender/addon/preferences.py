# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user sets once: which Python runs the worker, on which device, and for how long."""

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
DEFAULT_IDLE_MINUTES = 10
NO_MEMORY_LIMIT = 0.0


class PreferenceValues:
    """Mix-in of what is stored; `preferences_page` draws it."""

    python_path: bpy.props.StringProperty(
        name="Worker Python",
        description="Python with the pipeline's packages. Empty: the environment variable "
        "ONE2345_PYTHON, else the installed runtime",
        subtype="FILE_PATH",
    )
    local_files: bpy.props.StringProperty(
        name="Local Files",
        description="Folder of wheels or of published weights brought from another machine. The "
        "runtime is then installed from it alone, and weights are looked for in it first",
        subtype="DIR_PATH",
    )
    device: bpy.props.EnumProperty(
        name="Device",
        description="Where the networks run",
        items=[(device, _DEVICE_NAMES[device], "") for device in DEVICES],
        default=DEFAULT_DEVICE,
    )
    memory_limit_gb: bpy.props.FloatProperty(
        name="Memory Limit (GB)",
        description="What a conversion may take of the device's memory; one that needs more ends "
        "with an error. 0: no limit",
        default=NO_MEMORY_LIMIT,
        min=NO_MEMORY_LIMIT,
        soft_max=64.0,
        precision=1,
        step=50,
    )
    idle_minutes: bpy.props.IntProperty(
        name="Keep Networks Loaded (min)",
        description="Minutes after which an idle worker ends and gives its memory back. The next "
        "conversion then loads the networks again",
        default=DEFAULT_IDLE_MINUTES,
        min=1,
        max=24 * 60,
    )
    makes_room_for_render: bpy.props.BoolProperty(
        name="Make Room for Renders",
        description="End the worker while Blender renders, so that the render has its memory. A "
        "conversion under way starts again afterwards",
    )


def preferred_python() -> str:
    """The interpreter that the user chose; empty: none."""
    preferences = _preferences()
    return bpy.path.abspath(preferences.python_path) if preferences else ""


def local_files() -> str:
    """The folder of files that need no network; empty: none."""
    preferences = _preferences()
    return bpy.path.abspath(preferences.local_files) if preferences else ""


def preferred_device() -> str:
    """One of `contracts.job.DEVICES`."""
    preferences = _preferences()
    return preferences.device if preferences else DEFAULT_DEVICE


def memory_limit_gb() -> float | None:
    """What a conversion may take of the device's memory, 10^9 bytes; None: no limit."""
    preferences = _preferences()
    return (preferences.memory_limit_gb or None) if preferences else None


def idle_timeout_s() -> float:
    """How long an idle worker is kept."""
    preferences = _preferences()
    return 60.0 * (preferences.idle_minutes if preferences else DEFAULT_IDLE_MINUTES)


def makes_room_for_render() -> bool:
    """Whether the worker ends while Blender renders."""
    preferences = _preferences()
    return preferences is not None and preferences.makes_room_for_render


def runtime_dir() -> Path | None:
    """Where the installed runtime lies; None when the add-on is not installed as an extension."""
    if not is_extension():
        return None
    return Path(bpy.utils.extension_path_user(ROOT_PACKAGE, path="runtime"))


def _preferences() -> PreferenceValues | None:
    """The stored preferences; None when the add-on was registered from a script."""
    addon = bpy.context.preferences.addons.get(ROOT_PACKAGE)
    return addon.preferences if addon else None
