# SPDX-License-Identifier: GPL-3.0-or-later
"""One job: `JobSpec` in, files and events out, and exactly one last word."""

from __future__ import annotations

import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from ..contracts.errors import Cancelled, EnvironmentMissingError, One2345Error, OutputError
from ..contracts.job import JobSpec
from ..contracts.job_folder import prepare_output_dir, write_traceback
from ..contracts.messages import Message

if TYPE_CHECKING:
    from ..contracts.progress import OnEvent

Send = Callable[[Message], None]


class Converted(Protocol):
    """What a converter answers."""

    @property
    def files(self) -> dict[str, str]:
        """Absolute paths by role."""

    @property
    def report(self) -> dict[str, Any]:
        """`RunReport.to_dict()`."""


Converter = Callable[[JobSpec, "OnEvent"], Converted]
"""Converts a picture and writes the result files; keeps its models between calls."""


def load_converter() -> Converter:
    """The pipeline as a converter; it is imported by the first job, not before hello."""
    models = None

    def convert(spec: JobSpec, on_event: OnEvent) -> Converted:
        nonlocal models
        from ..pipeline.convert import convert_image
        from ..pipeline.model_cache import ModelCache

        if models is None:
            models = ModelCache()
        return convert_image(spec, models=models, on_event=on_event)

    return convert


def run_job(job: Message, *, convert: Converter, send: Send, cancel: threading.Event) -> Message:
    """Run one job.

    Args:
        job: `JobSpec.to_dict()`, as it came over the wire; its `job_id` is a string.
        convert: Called once, in this thread.
        send: Takes the events on the way.
        cancel: Set from another thread to stop the job at its next event.

    Returns:
        The job's last word, which the caller sends.
    """
    job_id = job["job_id"]
    output_dir: Path | None = None
    try:
        spec = JobSpec.from_dict(job)
        prepare_output_dir(spec.output_dir)
        output_dir = spec.output_dir
        send({"type": "accepted", "job_id": job_id})
        from .job_events import JobEvents  # needs more than the standard library

        result = convert(spec, JobEvents(job_id, output_dir, send, cancel))
    except Cancelled:
        return {"type": "cancelled", "job_id": job_id}
    except Exception as error:
        traceback.print_exc()
        return error_event(job_id, _for_people(error), _write_traceback(output_dir))
    return {
        "type": "result",
        "job_id": job_id,
        "files": dict(result.files),
        "report": result.report,
    }


def error_event(job_id: str | None, error: One2345Error, detail_path: str | None = None) -> Message:
    """The `error` event for an expected error; `job_id` None: it belongs to no job."""
    return {
        "type": "error",
        "job_id": job_id,
        "code": error.code,
        "message": error.message,
        "hint": error.hint,
        "detail_path": detail_path,
    }


def _for_people(error: Exception) -> One2345Error:
    """The error as a `One2345Error`: itself, a missing package, or a bug of ours."""
    if isinstance(error, One2345Error):
        return error
    if isinstance(error, ModuleNotFoundError):
        return EnvironmentMissingError(
            f"The worker's Python ({sys.executable}) lacks the package {error.name!r}.",
            hint="Install the [pipeline] requirements there, or choose another Python.",
        )
    return One2345Error(
        f"Unexpected {type(error).__name__}: {error}",
        hint="This is a bug; please report it with the details file.",
    )


def _write_traceback(output_dir: Path | None) -> str | None:
    """Write the current traceback into the job's folder; None when it cannot be
    written (it is in the log as well)."""
    if output_dir is None:
        return None
    try:
        return str(write_traceback(output_dir))
    except OutputError:
        return None
