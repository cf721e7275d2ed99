# SPDX-License-Identifier: GPL-3.0-or-later
"""Every way in which a job, the add-on or Blender can end, in the middle of a job.

That no process is left afterwards is looked at from outside, once Blender is gone.
"""

from __future__ import annotations

import os
import signal

import bpy
import jobs
from hand import Hand, Steps, wait_until


def _in_mid_job(hand: Hand) -> Steps:
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="stays_in:sdf")
    yield from wait_until(lambda: jobs.state().stage == "sdf", within_s=60, what="mid-job")
    assert len(jobs.children()) == 1


def _no_worker_left() -> Steps:
    yield from wait_until(lambda: not jobs.children(), within_s=10, what="the worker is gone")


def check_quit_in_mid_job(hand: Hand) -> Steps:
    """Blender is quit by its own operator."""
    yield from _in_mid_job(hand)


def check_blender_is_terminated(hand: Hand) -> Steps:
    """The desktop session ends: SIGTERM."""
    yield from _in_mid_job(hand)
    hand.note_passed()
    os.kill(os.getpid(), signal.SIGTERM)
    yield 60.0


def check_blender_is_killed(hand: Hand) -> Steps:
    """Out of memory, or a crash: SIGKILL, and nobody can clean up."""
    yield from _in_mid_job(hand)
    hand.note_passed()
    os.kill(os.getpid(), signal.SIGKILL)
    yield 60.0


def check_the_worker_is_killed(hand: Hand) -> Steps:
    """kill -9: the panel says what happened and what to do, and the next job works."""
    yield from _in_mid_job(hand)
    (worker,) = jobs.children()
    os.kill(worker, signal.SIGKILL)
    yield from wait_until(lambda: jobs.status() == "failed", within_s=20, what="the error")
    assert "SIGKILL" in str(jobs.state().failure)
    yield from hand.screenshot("worker_killed")
    yield from jobs.start_job(hand, mode="ok")
    yield from wait_until(lambda: jobs.status() == "done", within_s=60, what="the next job")


def check_the_add_on_is_disabled(hand: Hand) -> Steps:
    """In mid-job; then it is enabled again and works."""
    yield from _in_mid_job(hand)
    bpy.ops.preferences.addon_disable(module=jobs.MODULE)
    yield from _no_worker_left()
    handlers = [
        handler
        for name in dir(bpy.app.handlers)
        if isinstance(found := getattr(bpy.app.handlers, name), list)
        for handler in found
        if "one2345" in str(getattr(handler, "__module__", ""))
    ]
    assert handlers == []
    bpy.ops.preferences.addon_enable(module=jobs.MODULE)
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="ok")
    yield from wait_until(lambda: jobs.status() == "done", within_s=60, what="the next job")


def check_another_file_is_opened(hand: Hand) -> Steps:
    """The job goes on, but its result does not end up in the other file unasked."""
    jobs.open_panels("ONE2345_PT_queue")
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="slow")
    bpy.ops.wm.read_homefile(app_template="")
    yield 1.0
    yield from wait_until(lambda: jobs.status() == "done", within_s=60, what="the job")
    yield 1.0
    assert {found.name for found in bpy.data.objects} == {"Camera", "Cube", "Light"}
    yield from hand.open_tab()
    yield from hand.screenshot("another_file")
    yield from hand.press_button("one2345.place_result")
    yield from wait_until(
        lambda: jobs.PHOTO.stem in bpy.data.objects, within_s=20, what="the result on demand"
    )
