# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker stays warm between jobs and gives its memory back when it is asked to."""

from __future__ import annotations

import time
from collections.abc import Callable

import bpy
import jobs
from hand import Hand, Steps, wait_until

_FRAMES = 6
_FRAME_S = 1.0
"""That each takes at least, as in a scene with more in it."""


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
    """F12 in mid-job: no worker from the first frame on, the panel says what the job waits for, and
    it begins anew afterwards."""
    bpy.context.preferences.addons[jobs.MODULE].preferences.makes_room_for_render = True
    during: list[list[int]] = []
    panels, waits = jobs.room("addon.panels"), []
    draw_wait = panels._draw_wait
    panels._draw_wait = lambda layout, job: (waits.append(job), draw_wait(layout, job))
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="stays_in:sdf")
    (worker,) = jobs.children()
    yield from _render_many_frames(hand, lambda: during.append(jobs.children()))
    yield from wait_until(lambda: len(during) > 1 and waits, within_s=120, what="the render")
    yield from hand.screenshot("waits_for_render")
    assert jobs.status() == "waiting" and bpy.ops.one2345.cancel.poll()
    yield from wait_until(_is_render_over, within_s=200, what="the end of the render")
    assert during == [[]] * _FRAMES
    yield from wait_until(
        lambda: jobs.children() not in ([], [worker]), within_s=30, what="a new worker"
    )
    assert worker not in jobs.children()
    assert jobs.status() in ("starting", "running")
    yield from hand.press_button("one2345.cancel")
    yield from wait_until(lambda: jobs.status() == "cancelled", within_s=30, what="cancelled")


def check_a_result_waits_for_the_end_of_a_render(hand: Hand) -> Steps:
    """The job is done while Blender renders; its object comes afterwards."""
    seen: list[bool] = []
    done: list[bool] = []

    def look() -> None:
        done.append(jobs.status() == "done")
        seen.append(jobs.PHOTO.stem in bpy.data.objects)

    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="slow")
    yield from _render_many_frames(hand, look)
    yield from wait_until(lambda: any(done), within_s=120, what="the job")
    yield from hand.screenshot("done_in_render")
    yield from wait_until(_is_render_over, within_s=200, what="the end of the render")
    assert any(done) and not any(seen), (done, seen)
    yield from wait_until(lambda: jobs.PHOTO.stem in bpy.data.objects, within_s=20, what="it")


def _render_many_frames(hand: Hand, before_each: Callable[[], None]) -> Steps:
    """Ctrl-F12: frames of an animation, in a thread of its own."""
    bpy.context.preferences.view.render_display_type = "NONE"
    scene = bpy.context.scene
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.filepath = f"{bpy.app.tempdir}/frames/"
    scene.frame_end = _FRAMES
    bpy.app.handlers.render_pre.append(lambda *_: before_each())
    bpy.app.handlers.render_post.append(lambda *_: time.sleep(_FRAME_S))
    yield from hand.to_view()
    yield from hand.press("F12", ctrl=True)
    yield from wait_until(lambda: not _is_render_over(), within_s=60, what="the render begins")


def _is_render_over() -> bool:
    return not bpy.app.is_job_running("RENDER")
