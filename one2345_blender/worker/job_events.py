# SPDX-License-Identifier: GPL-3.0-or-later
"""The pipeline's events as messages on the wire; the place where a job notices its cancellation."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from pathlib import Path

from ..contracts.errors import Cancelled
from ..contracts.job_folder import atomic_write, folder_within
from ..contracts.messages import Message
from ..contracts.preview_file import save_preview
from ..contracts.progress import (
    PipelineEvent,
    StageStarted,
    StepDone,
    ViewReady,
    WarningRaised,
)

PREVIEWS_DIR = "previews"
_MIN_PROGRESS_INTERVAL_S = 0.1


class JobEvents:
    """The pipeline's `on_event` callback for one job."""

    def __init__(
        self,
        job_id: str,
        output_dir: Path,
        send: Callable[[Message], None],
        cancel: threading.Event,
    ) -> None:
        self._job_id = job_id
        self._output_dir = output_dir
        self._send = send
        self._cancel = cancel
        self._last_progress_s = 0.0

    def __call__(self, event: PipelineEvent) -> None:
        """Forward `event`.

        Raises:
            Cancelled: The job's cancel token is set.
        """
        if self._cancel.is_set():
            raise Cancelled
        message = self._message(event)
        if message is not None:
            self._send({**message, "job_id": self._job_id})

    def _message(self, event: PipelineEvent) -> Message | None:
        """The message for `event`; None for a step too soon after the last one that was told."""
        match event:
            case StageStarted(stage=stage):
                return {"type": "stage", "name": stage, "index": event.index, "count": event.count}
            case StepDone(stage=stage, step=step, steps=steps):
                if step < steps and not self._is_progress_due():
                    return None
                return {"type": "progress", "stage": stage, "step": step, "steps": steps}
            case ViewReady(name=name):
                return {"type": "preview", "name": name, "path": str(self._write_preview(event))}
            case WarningRaised(code=code, message=message):
                return {"type": "warning", "code": code, "message": message}

    def _is_progress_due(self) -> bool:
        now_s = time.monotonic()
        if now_s - self._last_progress_s < _MIN_PROGRESS_INTERVAL_S:
            return False
        self._last_progress_s = now_s
        return True

    def _write_preview(self, view: ViewReady) -> Path:
        path = folder_within(self._output_dir, PREVIEWS_DIR) / f"{view.name}.npy"
        with atomic_write(path) as file:
            save_preview(view.rgb, file)
        return path
