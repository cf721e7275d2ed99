# SPDX-License-Identifier: GPL-3.0-or-later
"""What the installed extension says of its jobs."""

from __future__ import annotations

import importlib
import os
from pathlib import Path
from types import ModuleType

import bpy
from hand import Hand, Steps, wait_until

MODULE = "bl_ext.user_default.one2345"
PHOTO = Path(__file__).parents[3] / "docs" / "demo" / "coffee.jpg"
FAKE_MODE_VARIABLE = "ONE2345_FAKE_MODE"


def room(name: str) -> ModuleType:
    """A module of the installed package, such as `addon.session`."""
    return importlib.import_module(f"{MODULE}.one2345_blender.{name}")


def all_jobs() -> list:
    """All jobs that the extension remembers, the oldest first."""
    return room("addon.session").SESSION.jobs


def status() -> str:
    """How the newest job stands, in lower case."""
    return state().status.value


def state():
    """The newest job's state."""
    return all_jobs()[-1].state


def choose_picture(hand: Hand, path: Path = PHOTO) -> Steps:
    """Press the button that opens a picture, and take the file in the file browser."""
    bpy.context.preferences.view.filebrowser_display_type = "SCREEN"
    yield from hand.press_button("image.open")
    yield from wait_until(lambda: browser(hand), within_s=20, what="the file browser")
    yield 1.0  # it reads the folder
    area = browser(hand)
    area.spaces.active.params.directory = str(path.parent).encode()
    area.spaces.active.params.filename = path.name
    yield 1.0
    main = next(region for region in area.regions if region.type == "WINDOW")
    yield from hand.move((main.x + main.width - 20, main.y + 20))
    yield from hand.press("RET")
    yield from wait_until(lambda: settings().image, within_s=20, what="the picture")
    yield 0.5


def settings():
    """The panel's settings."""
    return bpy.context.scene.one2345


def browser(hand: Hand) -> bpy.types.Area | None:
    """The file browser, while it fills the window."""
    return next((area for area in hand.window.screen.areas if area.type == "FILE_BROWSER"), None)


def open_panels(*names: str) -> None:
    """Have these sub-panels open from now on; Blender has no call that opens one."""
    bpy.ops.preferences.addon_disable(module=MODULE)
    for panel in room("addon").CLASSES:
        if panel.__name__ in names:
            panel.bl_options = set()
    bpy.ops.preferences.addon_enable(module=MODULE)


def start_job(hand: Hand, *, mode: str) -> Steps:
    """Have the fake worker behave as `mode` says, press the button, wait for the first stage."""
    os.environ[FAKE_MODE_VARIABLE] = mode
    count = len(all_jobs())
    yield from hand.press_button("one2345.image_to_mesh")
    yield from wait_until(
        lambda: len(all_jobs()) > count and state().stage, within_s=60, what="a stage"
    )


def children() -> list[int]:
    """Process ids of Blender's children, those that wait to be buried left out."""
    own = str(os.getpid())
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            _, _, after_name = stat.read_text().rpartition(") ")
        except (FileNotFoundError, ProcessLookupError):
            continue
        process_state, parent = after_name.split()[:2]
        if parent == own and process_state != "Z":
            found.append(int(stat.parent.name))
    return found
