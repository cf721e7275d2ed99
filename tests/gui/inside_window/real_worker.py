# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole way with the real worker and the embedded preset, as the documents picture it."""

from __future__ import annotations

import bpy
import jobs
from hand import Hand, Steps, wait_until

_JOB_WITHIN_S = 1200.0


def convert_a_photo(hand: Hand) -> Steps:
    """An empty scene, a photo, the button; pictures on the way and of the object."""
    bpy.data.objects.remove(bpy.data.objects["Cube"])
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from hand.press_button("one2345.image_to_mesh")
    yield from wait_until(
        lambda: jobs.all_jobs() and jobs.state().stage == "views_stage2",
        within_s=_JOB_WITHIN_S,
        what="the second views",
    )
    yield from hand.screenshot("real_running")
    yield from wait_until(
        lambda: jobs.PHOTO.stem in bpy.data.objects or jobs.state().failure,
        within_s=_JOB_WITHIN_S,
        what="the object",
    )
    assert jobs.status() == "done", jobs.state()
    placed = bpy.data.objects[jobs.PHOTO.stem]
    assert len(placed.data.vertices) == jobs.state().report["num_vertices"]
    main = next(region for region in hand.view_3d.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=hand.window, area=hand.view_3d, region=main):
        bpy.ops.view3d.view_selected()
    yield from hand.screenshot("real_done")
