# SPDX-License-Identifier: GPL-3.0-or-later
"""A hand at Blender's window: it moves, clicks, types and looks, as a person would.

A check is a generator that Blender's timers step: it yields the seconds to wait before its next
step, so that Blender draws and handles events in between.
"""

from __future__ import annotations

import json
import subprocess
import time
from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import bpy

Steps = Iterator[float]
Point = tuple[int, int]
"""Pixels from the window's lower left corner."""

PASSED = "passed"
TAB = "One-2-3-45"
_EVENT_GAP_S = 0.05
_POLL_S = 0.1
_ROW_STEP_PX = 12
_HEADER_PX = 40
_TABS_PX = 45
"""From the sidebar's right edge, where its tabs are, to the middle of a row's last small button."""


class Hand:
    """Simulated mouse and keyboard in Blender's window; its first 3D view is where we work."""

    def __init__(self, output_dir: Path) -> None:
        """Put the hand at rest.

        Args:
            output_dir: For screenshots, and the note that the check passed.
        """
        self._output_dir = output_dir
        self._at: Point = (0, 0)
        self._found: dict[str, Point] = {}

    @property
    def window(self) -> bpy.types.Window:
        """The main window; asked for anew, since opening a file makes another."""
        return bpy.context.window_manager.windows[0]

    @property
    def view_3d(self) -> bpy.types.Area:
        """The first 3D view."""
        return next(area for area in self.window.screen.areas if area.type == "VIEW_3D")

    @property
    def sidebar(self) -> bpy.types.Region:
        """The sidebar of the 3D view."""
        return next(region for region in self.view_3d.regions if region.type == "UI")

    def move(self, at: Point) -> Steps:
        """Move the pointer; in two steps, since a button wakes up at the second over it."""
        for offset_px in (1, 0):
            self._event("MOUSEMOVE", "NOTHING", (at[0] + offset_px, at[1]))
            yield _EVENT_GAP_S

    def click(self, at: Point) -> Steps:
        """Click with the left button."""
        yield from self.move(at)
        yield from self.press("LEFTMOUSE")

    def press(self, key: str, *, unicode: str = "", **modifiers: bool) -> Steps:
        """Press and release a key or button where the pointer is; names as `event_simulate`'s."""
        self._event(key, "PRESS", self._at, unicode=unicode, **modifiers)
        self._event(key, "RELEASE", self._at, **modifiers)
        yield _EVENT_GAP_S

    def type_text(self, text: str) -> Steps:
        """Type into the field or search box that has the keyboard."""
        for character in text:
            yield from self.press("A", unicode=character)

    def open_tab(self) -> Steps:
        """Open the sidebar of the 3D view at the add-on's tab."""
        self.view_3d.spaces.active.show_region_ui = True
        yield 1.0
        self.sidebar.active_panel_category = TAB
        self.view_3d.tag_redraw()
        yield 0.5

    def find_operator(
        self,
        call: str,
        *,
        is_small: bool = False,
        region: bpy.types.Region | None = None,
        from_left: float = 2 / 3,
    ) -> Generator[float, None, Point]:
        """Where in the sidebar the button of an operator is: Ctrl-C there copies its command.

        Tries each row, the one where it was last time before all others.

        Args:
            call: How the command begins after `bpy.ops.`; the name suffices.
            is_small: True for an icon at a row's right end.
            region: Another one than the sidebar.
            from_left: Where it lies in its row, 0..1.
        """
        command = f"bpy.ops.{call}"
        region = region or self.sidebar
        x = region.x + (region.width - _TABS_PX if is_small else int(region.width * from_left))
        top = region.y + region.height - _HEADER_PX
        rows = [(x, y) for y in range(top, region.y, -_ROW_STEP_PX)]
        others: dict[str, Point] = {}
        for at in [self._found[command], *rows] if command in self._found else rows:
            bpy.context.window_manager.clipboard = ""
            yield from self.move(at)
            yield from self.press("C", ctrl=True)
            copied = bpy.context.window_manager.clipboard
            if command in copied:
                self._found[command] = at
                return at
            others[copied] = at
        raise AssertionError(f"no button of the region copies {command!r}, but these: {others}")

    def press_button(self, call: str, *, is_small: bool = False) -> Steps:
        """Find the button of an operator in the sidebar and click on it."""
        at = yield from self.find_operator(call, is_small=is_small)
        yield from self.click(at)

    def to_view(self) -> Steps:
        """Move the pointer into the 3D view, where the shortcuts of the scene work."""
        main = next(region for region in self.view_3d.regions if region.type == "WINDOW")
        yield from self.move((main.x + main.width // 4, main.y + main.height // 4))

    def screenshot(self, name: str) -> Steps:
        """Let Blender draw, then write the whole window to `<name>.png`."""
        for area in self.window.screen.areas:
            area.tag_redraw()
        yield 0.5
        path = self._output_dir / f"{name}.png"
        subprocess.run(["import", "-window", "root", str(path)], check=True, timeout=60)

    def note_passed(self) -> None:
        """Say that the check came to its end; one that ends Blender itself calls this before."""
        (self._output_dir / PASSED).touch()

    def write_json(self, name: str, content: object) -> None:
        """Write `<name>.json` for the one who reads what came out."""
        text = json.dumps(content, indent=1)
        (self._output_dir / f"{name}.json").write_text(text, encoding="utf-8")

    def _event(self, key: str, value: str, at: Point, **details: object) -> None:
        self._at = at
        self.window.event_simulate(key, value, x=at[0], y=at[1], **details)


def wait_until(condition: Callable[[], object], *, within_s: float, what: str) -> Steps:
    """Wait for a condition.

    Raises:
        AssertionError: It did not come true in time.
    """
    deadline_s = time.monotonic() + within_s
    while not condition():
        assert time.monotonic() < deadline_s, f"{what}: not within {within_s:g} s"
        yield _POLL_S
