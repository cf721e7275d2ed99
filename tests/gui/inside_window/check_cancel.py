# SPDX-License-Identifier: GPL-3.0-or-later
"""Cancel, wherever the job is: nothing is imported and the next job works."""

from __future__ import annotations

import time

import bpy
import jobs
from hand import Hand, Steps, wait_until

_CANCELLED_WITHIN_S = 2.0
_GONE_WITHIN_S = 5.0
"""As promised; from the click on."""


def check_cancel_in_every_stage(hand: Hand) -> Steps:
    """The button, in each stage; then a job that is left alone."""
    names = [found.name for found in bpy.data.objects]
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    for stage in jobs.room("contracts.progress").STAGES:
        yield from jobs.start_job(hand, mode=f"stays_in:{stage}")
        yield from wait_until(
            lambda stage=stage: jobs.state().stage == stage, within_s=60, what=f"stage {stage}"
        )
        if stage == "sdf":
            yield from hand.screenshot("cancel")
        at = yield from hand.find_operator("one2345.cancel")
        yield from hand.click(at)
        clicked_s = time.monotonic()
        yield from wait_until(
            lambda: jobs.status() == "cancelled",
            within_s=_CANCELLED_WITHIN_S,
            what=f"cancelled in {stage}",
        )
        yield from wait_until(
            lambda: not jobs.children(),
            within_s=_GONE_WITHIN_S - (time.monotonic() - clicked_s),
            what=f"the worker is gone, cancelled in {stage}",
        )
        assert not jobs.state().was_forced, f"{stage}: the worker had to be ended"
        assert [found.name for found in bpy.data.objects] == names, stage
    yield from hand.screenshot("cancelled")
    yield from jobs.start_job(hand, mode="ok")
    yield from wait_until(lambda: jobs.status() == "done", within_s=60, what="the next job")


def check_a_worker_that_does_not_heed_is_ended(hand: Hand) -> Steps:
    """It neither answers nor ends when it is asked to."""
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="hangs")
    yield from wait_until(lambda: jobs.state().stage == "sdf", within_s=60, what="it hangs")
    at = yield from hand.find_operator("one2345.cancel")
    yield from hand.click(at)
    clicked_s = time.monotonic()
    yield from wait_until(
        lambda: jobs.status() == "cancelled", within_s=_CANCELLED_WITHIN_S + 0.5, what="cancelled"
    )
    assert jobs.state().was_forced
    yield from wait_until(
        lambda: not jobs.children(),
        within_s=_GONE_WITHIN_S - (time.monotonic() - clicked_s),
        what="the worker is gone",
    )
