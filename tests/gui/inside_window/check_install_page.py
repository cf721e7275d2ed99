# SPDX-License-Identifier: GPL-3.0-or-later
"""The page of the installed extension in Blender's preferences, and the installer it starts."""

from __future__ import annotations

import os

import bpy
import jobs
from hand import Hand, Steps, wait_until


def _open_preferences(hand: Hand) -> Steps:
    """The 3D view becomes the preferences, with nothing but our page."""
    hand.view_3d.type = "PREFERENCES"
    yield 0.5
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = "One-2-3-45"
    bpy.ops.preferences.addon_expand(module=jobs.MODULE)
    yield 0.5


def check_the_panel_leads_to_the_page(hand: Hand) -> Steps:
    """Without a runtime the panel says so, and one button shows where it can be had."""
    del os.environ["ONE2345_PYTHON"]
    yield from hand.open_tab()
    yield from hand.screenshot("runtime_missing")
    yield from hand.press_button("preferences.addon_show")
    yield from wait_until(_is_page_open, within_s=20, what="the preferences")


def _is_page_open() -> bool:
    preferences = bpy.context.preferences
    windows = bpy.context.window_manager.windows
    shown = (area.type for window in windows for area in window.screen.areas)
    return "PREFERENCES" in shown and preferences.active_section in ("ADDONS", "EXTENSIONS")


def check_what_the_runtime_costs(hand: Hand) -> Steps:
    """On a machine without a runtime: read the cost; agreeing to it needs online access."""
    installation = jobs.room("addon.installation").INSTALLATION
    del os.environ["ONE2345_PYTHON"]
    bpy.context.preferences.system.use_online_access = False
    yield from _open_preferences(hand)
    assert bpy.ops.one2345.plan_runtime("INVOKE_DEFAULT") == {"FINISHED"}
    assert installation.is_busy
    yield from hand.screenshot("preferences_looking")
    yield from wait_until(lambda: not installation.is_busy, within_s=300, what="the answer")
    assert installation.state.report["download_bytes"] > 1e8
    assert not bpy.ops.one2345.install_runtime.poll()
    yield from hand.screenshot("preferences_offline")
    bpy.context.preferences.system.use_online_access = True
    assert bpy.ops.one2345.install_runtime.poll()
    yield from hand.screenshot("preferences_cost")


def check_the_self_test_and_the_diagnostic_report(hand: Hand) -> Steps:
    """Press both buttons; how the self-test goes is shown without touching the mouse again."""
    page, shown = jobs.room("addon.preferences_page"), []
    outcome = page.outcome
    page.outcome = lambda job: (shown.append(outcome(job)), shown[-1])[1]
    os.environ[jobs.FAKE_MODE_VARIABLE] = "slow"
    yield from _open_preferences(hand)
    main = _page_region(hand)
    at = yield from hand.find_operator("one2345.self_test", region=main, from_left=0.3)
    yield from hand.click(at)
    yield from wait_until(
        lambda: shown and shown[-1].startswith("Self-test passed"), within_s=60, what="it passes"
    )
    assert any("%" in text for text in shown), shown
    yield from hand.screenshot("preferences_self_test")
    at = yield from hand.find_operator("one2345.copy_diagnostics", region=main, from_left=0.55)
    bpy.context.window_manager.clipboard = ""
    yield from hand.click(at)
    yield from wait_until(lambda: bpy.context.window_manager.clipboard, within_s=20, what="a copy")
    report = bpy.context.window_manager.clipboard
    assert report.startswith("One-2-3-45\n") and "status: done" in report, report
    assert bpy.app.tempdir not in report and str(jobs.PHOTO.parent) not in report


def _page_region(hand: Hand) -> bpy.types.Region:
    area = next(area for area in hand.window.screen.areas if area.type == "PREFERENCES")
    return next(region for region in area.regions if region.type == "WINDOW")
