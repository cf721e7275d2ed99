# SPDX-License-Identifier: GPL-3.0-or-later
"""A tiny built-in picture goes the whole way; the answer names the stage that failed."""

from __future__ import annotations

import uuid
from pathlib import Path

import bpy
from bpy.app.translations import pgettext_iface as iface_

from ..client.job_queue import Job
from ..client.job_state import JobStatus
from ..contracts.errors import One2345Error
from ..contracts.job import JobSpec
from . import session, texts
from .preferences import memory_limit_gb, preferred_device
from .reports import give_up

PICTURE = Path(__file__).with_name("self_test.png")
"""A cup, 96 x 96 pixels with alpha."""
_GRID_RESOLUTION = 32


def self_test_spec() -> JobSpec:
    """The embedded preset on the built-in picture, in as few steps as it can do."""
    job_id = uuid.uuid4().hex[:12]
    return JobSpec(
        job_id=job_id,
        image_path=PICTURE,
        output_dir=Path(bpy.app.tempdir) / "one2345" / job_id,
        device=preferred_device(),
        memory_limit_gb=memory_limit_gb(),
        num_inference_steps_stage1=1,
        num_inference_steps_stage2=1,
        grid_resolution=_GRID_RESOLUTION,
    )


def outcome(job: Job) -> str:
    """What the self-test found, or how far it is."""
    state = job.state
    if state.status is JobStatus.DONE and state.report is not None:
        seconds = texts.duration(state.report["total_seconds"])
        return iface_("Self-test passed in {} on the device {}.").format(
            seconds, state.report["device"]
        )
    if state.failure is not None:
        where = texts.doing(state)
        return iface_("Self-test failed at “{}”: {}").format(where, state.failure.brief)
    if state.status is JobStatus.CANCELLED:
        return iface_("Self-test cancelled.")
    return iface_("Self-test: {}, {}").format(texts.doing(state), texts.progress(job))


def self_test_job() -> Job | None:
    """The last self-test that is remembered."""
    tests = [job for job in session.SESSION.jobs if job.spec.image_path == PICTURE]
    return tests[-1] if tests else None


class ONE2345_OT_self_test(bpy.types.Operator):
    """Convert a tiny built-in picture to see whether everything works; nothing is added to the
    scene"""

    bl_idname = "one2345.self_test"
    bl_label = "Run Self-Test"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One at a time."""
        last = self_test_job()
        if last is not None and not last.state.is_final:
            cls.poll_message_set("The self-test is under way")
            return False
        return True

    def invoke(self, _context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """From the preferences: do not block."""
        return self._run(blocks=bpy.app.background)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """From a script: return when the answer is there."""
        return self._run(blocks=True)

    def _run(self, *, blocks: bool) -> set[str]:
        try:
            job = session.SESSION.start(self_test_spec(), None)
        except One2345Error as error:
            return give_up(self, error)
        session.watch()
        if not blocks:
            return {"FINISHED"}
        session.SESSION.wait([job])
        if job.state.status is not JobStatus.DONE:
            return give_up(self, outcome(job))
        self.report({"INFO"}, outcome(job))
        return {"FINISHED"}
