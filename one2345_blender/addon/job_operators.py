# SPDX-License-Identifier: GPL-3.0-or-later
"""What can be done to the conversions of the queue and to the worker."""

import bpy

from ..client.job_queue import Job
from . import session

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
    bl_label = "Cancel Image to Mesh"

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
    """Put the finished object into this scene, at the 3D cursor"""

    bl_idname = "one2345.place_result"
    bl_label = "Place Object"

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        """Only where it can be seen at once."""
        if not any(map(session.SESSION.can_place, session.SESSION.jobs)):
            cls.poll_message_set("No conversion is finished")
            return False
        if context.mode != "OBJECT":
            cls.poll_message_set("Only in Object Mode")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Place each of the chosen results."""
        finished = [job for job in self.chosen_jobs() if session.SESSION.can_place(job)]
        for place_in_row, job in enumerate(finished):
            session.SESSION.place_here(job, context.scene, place_in_row=place_in_row)
            if job.state.failure is not None:
                self.report({"ERROR"}, str(job.state.failure))
        return {"FINISHED"} if finished else {"CANCELLED"}


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
        session.SESSION.queue.unload()
        session.watch()
        return {"FINISHED"}
