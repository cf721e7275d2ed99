# SPDX-License-Identifier: GPL-3.0-or-later
"""The diagnostic report of this Blender: for a bug report, without private paths."""

from __future__ import annotations

import platform
import sys
from pathlib import Path

import bpy

from ..client.diagnostics import diagnostic_report
from ..contracts.errors import EnvironmentMissingError
from ..contracts.preset_location import user_presets_folder
from ..version import __version__
from . import preferences, session
from .installation import worker_python

_PACKAGE = Path(__file__).resolve().parents[2]


def report_text() -> str:
    """Versions, devices, the last conversions and their errors."""
    queue = session.SESSION.queue
    sections = {
        "One-2-3-45": {
            "version": __version__,
            "Blender": f"{bpy.app.version_string} ({bpy.app.build_platform.decode()})",
            "system": platform.platform(),
            "Blender's Python": platform.python_version(),
            "device asked for": preferences.preferred_device(),
            "worker's Python": _python_text(),
        },
        "Worker": queue.worker_versions or {"state": "not started yet"},
    }
    for job in session.SESSION.jobs[-3:]:
        facts = {"preset": job.spec.preset, "status": job.state.status.value}
        if job.state.stage:
            facts["stage"] = job.state.stage
        if job.state.report is not None:
            facts["device"] = str(job.state.report["device"])
            facts["seconds"] = str(job.state.report["total_seconds"])
        if job.state.was_forced:
            facts["cancelled"] = "by ending the worker, which did not stop in time"
        facts.update({f"warning {n}": text for n, text in enumerate(job.state.warnings, start=1)})
        if job.state.failure is not None:
            facts["error"] = f"{job.state.failure.code}: {job.state.failure}"
        sections[f"Conversion {job.spec.job_id}"] = facts
    return diagnostic_report(sections, _roots())


def _python_text() -> str:
    try:
        return str(worker_python())
    except EnvironmentMissingError as error:
        return error.message


def _roots() -> dict[str, str]:
    """Names for the folders and files that the report may speak of."""
    roots = {
        str(_PACKAGE): "<extension>",
        bpy.app.tempdir.rstrip("/\\"): "<temporary folder>",
        str(user_presets_folder()): "<presets>",
        sys.prefix: "<Blender's Python>",
        str(Path.home()): "~",
    }
    for job in session.SESSION.jobs:
        roots[str(job.spec.image_path)] = "<photo>"
        roots[job.spec.image_path.name] = "<photo>"
        roots[str(job.spec.output_dir)] = "<job folder>"
    if bpy.data.filepath:
        roots[bpy.data.filepath] = "<.blend file>"
    return roots


class ONE2345_OT_copy_diagnostics(bpy.types.Operator):
    """Copy a report for a bug report to the clipboard: versions, device, last error. It holds no
    paths of yours"""

    bl_idname = "one2345.copy_diagnostics"
    bl_label = "Copy Diagnostic Report"

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Where there is a clipboard."""
        if bpy.app.background:
            cls.poll_message_set("Without a window Blender has no clipboard")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        """Copy it."""
        context.window_manager.clipboard = report_text()
        self.report({"INFO"}, "The diagnostic report is in the clipboard")
        return {"FINISHED"}
