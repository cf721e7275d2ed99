# SPDX-License-Identifier: GPL-3.0-or-later
"""What the preferences offer for the runtime and the published weights."""

from __future__ import annotations

import bpy

from ..client.job_state import JobStatus
from ..contracts.errors import One2345Error
from . import preferences, session
from .installation import INSTALLATION, offline_reason, watch
from .reports import give_up

_OPTIONS = {"INTERNAL"}


class InstallationAction(bpy.types.Operator):
    """Base: starts one command. A button returns at once, a script waits for its end."""

    bl_options = _OPTIONS
    is_installer = False
    """True: runs the installer of the runtime, for which only an extension has a place; False:
    the download of the weights."""
    is_online = False
    """Needs the network, unless local files are named."""
    arguments: tuple[str, ...] = ()
    """Of the command."""
    takes_local_files = True

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """One command at a time, and none beside a conversion."""
        if INSTALLATION.is_busy:
            cls.poll_message_set("An installation is under way")
        elif session.SESSION.is_busy:
            cls.poll_message_set("A conversion is under way")
        elif cls.is_installer and preferences.runtime_dir() is None:
            cls.poll_message_set("The add-on is not installed as an extension")
        elif cls.is_online and not preferences.local_files() and (reason := offline_reason()):
            cls.poll_message_set(reason)
        else:
            return True
        return False

    def invoke(self, _context: bpy.types.Context, _event: bpy.types.Event) -> set[str]:
        """From the preferences: do not block."""
        return self._run(blocks=bpy.app.background)

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """From a script: return when it is done."""
        return self._run(blocks=True)

    def _run(self, *, blocks: bool) -> set[str]:
        session.SESSION.end_idle_worker()  # a worker keeps files of runtime and weights open
        start, local = INSTALLATION.run_download, "--from"
        if self.is_installer:
            start, local = INSTALLATION.run_installer, "--wheelhouse"
        folder = preferences.local_files() if self.takes_local_files else ""
        given = (local, folder) if folder else ()
        try:
            start(type(self).bl_idname, *self.arguments, *given)
        except One2345Error as error:
            return give_up(self, error)
        watch()
        if not blocks:
            return {"FINISHED"}
        INSTALLATION.wait()
        state = INSTALLATION.state
        if state is not None and state.failure is not None:
            return give_up(self, str(state.failure))
        is_done = state is not None and state.status is JobStatus.DONE
        return {"FINISHED"} if is_done else {"CANCELLED"}


class Removal(InstallationAction):
    """Base: asks before it deletes, which does not take long enough to wait for it elsewhere."""

    takes_local_files = False

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        """From the preferences: ask first; the answer runs `execute`."""
        return context.window_manager.invoke_confirm(self, event)


class ONE2345_OT_plan_runtime(InstallationAction):
    """Look at this machine and say what the runtime will cost; nothing is downloaded yet"""

    bl_idname = "one2345.plan_runtime"
    bl_label = "Install Runtime…"
    is_installer = True
    arguments = ("--dry-run",)


class ONE2345_OT_install_runtime(InstallationAction):
    """Download PyTorch and what belongs to it into the extension's folder. It can be cancelled,
    and goes on the next time; Blender's own Python stays as it is"""

    bl_idname = "one2345.install_runtime"
    bl_label = "Install"
    is_installer = True
    is_online = True


class ONE2345_OT_remove_runtime(Removal):
    """Delete the runtime from the extension's folder"""

    bl_idname = "one2345.remove_runtime"
    bl_label = "Remove Runtime"
    is_installer = True
    arguments = ("--remove",)


class ONE2345_OT_plan_weights(InstallationAction):
    """Show the licenses and the size of the published weights; they are not downloaded yet"""

    bl_idname = "one2345.plan_weights"
    bl_label = "Get Weights…"
    is_online = True
    arguments = ("--dry-run",)


class ONE2345_OT_download_weights(InstallationAction):
    """Accept the licenses and download the published weights. It can be cancelled, and goes on
    the next time"""

    bl_idname = "one2345.download_weights"
    bl_label = "Accept Licenses and Download"
    is_online = True
    arguments = ("--accept-licences",)


class ONE2345_OT_remove_weights(Removal):
    """Delete the published weights and the preset made of them"""

    bl_idname = "one2345.remove_weights"
    bl_label = "Remove Weights"
    arguments = ("--remove",)


class ONE2345_OT_cancel_installation(bpy.types.Operator):
    """End what is under way; what has been downloaded is kept"""

    bl_idname = "one2345.cancel_installation"
    bl_label = "Cancel"
    bl_options = _OPTIONS

    @classmethod
    def poll(cls, _context: bpy.types.Context) -> bool:
        """Only while something is under way."""
        if not INSTALLATION.is_busy:
            cls.poll_message_set("No installation is under way")
            return False
        return True

    def execute(self, _context: bpy.types.Context) -> set[str]:
        """Ask it to end."""
        INSTALLATION.cancel()
        return {"FINISHED"}


CLASSES: tuple[type, ...] = (
    ONE2345_OT_plan_runtime,
    ONE2345_OT_install_runtime,
    ONE2345_OT_remove_runtime,
    ONE2345_OT_plan_weights,
    ONE2345_OT_download_weights,
    ONE2345_OT_remove_weights,
    ONE2345_OT_cancel_installation,
)
