# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures that a running conversion has made so far, as icons that panels can draw."""

from __future__ import annotations

from pathlib import Path

import bpy.utils.previews

from ..client.job_queue import Job

VIEW_NAMES = ("foreground", *(str(view) for view in range(8)))
"""Of the 42 pictures of a conversion, those that are shown: the cut-out and the eight views."""


class PreviewIcons:
    """Icons by file."""

    def __init__(self) -> None:
        self._icons: bpy.utils.previews.ImagePreviewCollection | None = None

    def attach(self) -> None:
        """Called when the add-on is registered."""
        self._icons = bpy.utils.previews.new()

    def detach(self) -> None:
        """Called when it is unregistered."""
        bpy.utils.previews.remove(self._icons)
        self._icons = None

    def icon_ids(self, job: Job) -> list[int]:
        """One for each view of the job that is there, in the order of `VIEW_NAMES`. Each call reads
        one file at most; the others come with the next calls."""
        assert self._icons is not None
        paths = {Path(path).stem: path for path in job.state.preview_paths}
        shown = [paths[name] for name in VIEW_NAMES if name in paths]
        unread = [path for path in shown if _key(job, path) not in self._icons]
        for path in unread[:1]:
            # read at once: what Blender reads in the background has the whole window drawn anew
            tuple(self._icons.load(_key(job, path), path, "IMAGE").image_size)
        return [self._icons[_key(job, path)].icon_id for path in shown if path not in unread[1:]]

    def forget(self, job: Job) -> None:
        """Let go of a job's pictures."""
        assert self._icons is not None
        for path in job.state.preview_paths:
            self._icons.pop(_key(job, path), None)


def _key(job: Job, path: str) -> str:
    """Two jobs may have written the same file, one after the other."""
    return f"{job.spec.job_id} {path}"


PREVIEW_ICONS = PreviewIcons()
