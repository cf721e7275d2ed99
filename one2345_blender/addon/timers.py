# SPDX-License-Identifier: GPL-3.0-or-later
"""What Blender calls now and then, so that it stays responsive meanwhile."""

from __future__ import annotations

from collections.abc import Callable

import bpy

Tick = Callable[[], float | None]
"""Returns the seconds until it is called again; None: no more."""


def start(tick: Tick, first_interval_s: float) -> None:
    """Call it from then on, also once another file is opened, unless it is being called already."""
    if not bpy.app.timers.is_registered(tick):
        bpy.app.timers.register(tick, first_interval=first_interval_s, persistent=True)


def stop(tick: Tick) -> None:
    """Call it no more."""
    if bpy.app.timers.is_registered(tick):
        bpy.app.timers.unregister(tick)
