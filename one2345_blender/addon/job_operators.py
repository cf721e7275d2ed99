# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to the conversions of the queue and to the worker."""

from pathlib import Path

import bpy
from bpy.app.translations import pgettext_rpt as rpt_

from ..client.job_queue import Job
from . import session
from .reports import give_up

_HIDDEN = {"HIDDEN", "SKIP_SAVE"}


class JobReference:
    """Mix-in: the conversion that an operator is about."""

    job_id: bpy.props.StringProperty(
        name="Job", description="Which conversion; empty: all of them", options=_HIDDEN
    )

    def chosen_jobs(self) -> list[Job]:
        """The named job, or all."""
        jobs = session.SESSION.jobs
        return [job for job in jobs if self.job_id in ("", job.spec.job_id)]


class ONE2345_OT_cancel(JobReference, bpy.types.Operator):
    """Stop the conversion, or take it out of the queue"""

    bl_idname = "one2345.cancel"
    bl_label = "Cancel All Conversions"

    @classmethod
    def description(
        cls, _context: bpy.types.Context, properties: bpy.types.OperatorProperties
    ) -> str:
        """Which are cancelled."""
        if properties.job_id:
            return rpt_("Stop the conversion, or take it out of the queue")
        return rpt_("Stop the conversion under way, and take all others out of the queue")

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while there is something to cancel."""
        if not session.SESSION.is_busy:
            cls.poll_message_set("No conversion is under way")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask the worker; it stops at its next step or is ended. The youngest jobs go first, so
        that none of them starts."""
        for job in reversed(self.chosen_jobs()):
            session.SESSION.cancel(job)
        return {"FINISHED"}


class ONE2345_OT_place_result(JobReference, bpy.types.Operator):
    """Put the finished object that is in no scene yet into this one, at the 3D cursor"""

    bl_idname = "one2345.place_result"
    bl_label = "Place Object"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where it can be seen at once."""
        if not any(map(session.SESSION.can_place, session.SESSION.jobs)):
            cls.poll_message_set("No conversion is finished")
            return False
        if not any(map(session.SESSION.is_unplaced, session.SESSION.jobs)):
            cls.poll_message_set("All finished objects are in their scenes")
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Only in Object Mode")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Place those of the chosen results that are in no scene yet."""
        waiting = [job for job in self.chosen_jobs() if session.SESSION.is_unplaced(job)]
        if not waiting:
            return give_up(self, "The object of that conversion is in its scene, or there is none")
        for job in waiting:
            session.SESSION.place_here(job, context.scene)
            if job.state.failure is not None:
                self.report({"ERROR"}, str(job.state.failure))
        return {"FINISHED"}


class ONE2345_OT_forget(JobReference, bpy.types.Operator):
    """Take the finished conversion out of the list; its object stays in the scene"""

    bl_idname = "one2345.forget"
    bl_label = "Clear Finished"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only when there is a finished one."""
        if not any(job.state.is_final for job in session.SESSION.jobs):
            cls.poll_message_set("No conversion is finished")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Forget those that have ended."""
        for job in self.chosen_jobs():
            if job.state.is_final:
                session.SESSION.forget(job)
        return {"FINISHED"}


class ONE2345_OT_open_log(JobReference, bpy.types.Operator):
    """Open the file with all that the worker said of the conversion that failed"""

    bl_idname = "one2345.open_log"
    bl_label = "Open Log"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only when there is one."""
        if not any(map(_log_path, session.SESSION.jobs)):
            cls.poll_message_set("No conversion that failed has left a log")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Leave it to the system, the youngest if none is named."""
        logs = [path for path in map(_log_path, self.chosen_jobs()) if path is not None]
        if not logs:
            return give_up(self, "That conversion has left no log")
        if not logs[-1].is_file():
            return give_up(self, rpt_("The log is gone: {}").format(logs[-1]))
        bpy.ops.wm.path_open(filepath=str(logs[-1]))
        return {"FINISHED"}


def _log_path(job: Job) -> Path | None:
    failure = job.state.failure
    return Path(failure.detail_path) if failure is not None and failure.detail_path else None


class ONE2345_OT_unload(bpy.types.Operator):
    """Give the memory of the loaded networks back; the next conversion loads them again"""

    bl_idname = "one2345.unload"
    bl_label = "Unload Networks"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while a worker is idle."""
        if not session.SESSION.queue.is_warm:
            cls.poll_message_set("No idle worker has networks loaded")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Let the worker go."""
        session.SESSION.unload()
        session.watch()
        return {"FINISHED"}
