# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker stays warm between jobs and gives its memory back when it is asked to."""

from __future__ import annotations

import bpy
import jobs
from hand import Hand, Steps, wait_until


def check_it_stays_warm_and_is_unloaded_on_demand(hand: Hand) -> Steps:
    """Two jobs, one process; then none; then another."""
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    workers = []
    for _ in range(2):
        yield from jobs.start_job(hand, mode="ok")
        yield from wait_until(lambda: jobs.status() == "done", within_s=60, what="the job")
        workers.append(jobs.children())
    assert len(workers[0]) == 1 and workers[0] == workers[1]
    bpy.ops.one2345.unload()
    yield from wait_until(lambda: not jobs.children(), within_s=10, what="the worker is gone")
    yield from jobs.start_job(hand, mode="ok")
    yield from wait_until(lambda: jobs.status() == "done", within_s=60, what="the next job")


def check_it_makes_room_for_a_render(hand: Hand) -> Steps:
    """F12 in mid-job: no worker while Blender renders, and the job begins anew afterwards."""
    bpy.context.preferences.view.render_display_type = "NONE"
    bpy.context.scene.render.engine = "BLENDER_WORKBENCH"
    bpy.context.preferences.addons[jobs.MODULE].preferences.makes_room_for_render = True
    during: list[list[int]] = []
    bpy.app.handlers.render_post.append(lambda *_: during.append(jobs.children()))
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="stays_in:sdf")
    (worker,) = jobs.children()
    yield from hand.to_view()
    yield from hand.press("F12")
    yield from wait_until(lambda: during, within_s=120, what="the render")
    yield from wait_until(
        lambda: jobs.children() not in ([], [worker]), within_s=30, what="a new worker"
    )
    assert worker not in jobs.children()
    assert jobs.status() in ("starting", "running")
    yield from hand.press_button("one2345.cancel")
    yield from wait_until(lambda: jobs.status() == "cancelled", within_s=30, what="cancelled")
