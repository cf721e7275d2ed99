# SPDX-License-Identifier: GPL-3.0-or-later
"""The pictures that a running conversion has made so far, as icons that panels can draw."""

from __future__ import annotations

import contextlib
from pathlib import Path

import bpy.utils.previews

from ..client.job_queue import Job
from ..contracts.errors import OutputError
from ..contracts.preview_file import load_preview
from .preview_pixels import fill_preview

CUTOUT_NAME = "foreground"
VIEW_NAMES = (CUTOUT_NAME, *(str(view) for view in range(8)))
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

    def read_next(self, job: Job) -> None:
        """Read one of the job's views that are there and not read yet; Blender draws it with its
        next redraw of the panel."""
        assert self._icons is not None
        path = next((path for path in _shown(job) if _key(job, path) not in self._icons), None)
        if path is not None:
            icon = self._icons.new(_key(job, path))
            with contextlib.suppress(OutputError):  # the temporary folder was cleared: no picture
                fill_preview(icon, load_preview(Path(path)))

    def icon_ids(self, job: Job) -> list[int]:
        """One for each view of the job that was read, in the order of `VIEW_NAMES`."""
        assert self._icons is not None
        keys = (_key(job, path) for path in _shown(job))
        return [self._icons[key].icon_id for key in keys if key in self._icons]

    def forget(self, job: Job) -> None:
        """Let go of a job's pictures."""
        assert self._icons is not None
        for path in job.state.preview_paths:
            if _key(job, path) in self._icons:
                del self._icons[_key(job, path)]  # `pop` would leave the pixels with Blender


def cutout_path(job: Job) -> Path | None:
    """The object cut out of its photo, as `load_preview` reads it, once it is there."""
    path = _paths(job).get(CUTOUT_NAME)
    return Path(path) if path is not None else None


def _paths(job: Job) -> dict[str, str]:
    """By name, those views that are there."""
    return {Path(path).stem: path for path in job.state.preview_paths}


def _shown(job: Job) -> list[str]:
    """The paths of those views that are there, in the order of `VIEW_NAMES`."""
    paths = _paths(job)
    return [paths[name] for name in VIEW_NAMES if name in paths]


def _key(job: Job, path: str) -> str:
    """Two jobs may have written the same file, one after the other."""
    return f"{job.spec.job_id} {path}"


PREVIEW_ICONS = PreviewIcons()
