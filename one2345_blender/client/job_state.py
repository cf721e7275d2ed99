# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of a job: a pure state machine over the worker's events."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from ..contracts.errors import One2345Error
from ..contracts.messages import TERMINAL_EVENTS, Message


class JobStatus(Enum):
    """Where a job stands; the last three are final."""

    WAITING = "waiting"
    STARTING = "starting"
    RUNNING = "running"
    CANCELLING = "cancelling"
    DONE = "done"
    CANCELLED = "cancelled"
    FAILED = "failed"


@dataclass(frozen=True, kw_only=True)
class JobFailure:
    """Why a job failed, for people."""

    code: str
    message: str
    hint: str = ""
    detail_path: str | None = None
    """File with the traceback or the worker's log."""

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}".strip()

    @property
    def brief(self) -> str:
        """Without what the process printed, which `detail_path` holds."""
        first_line = self.message.partition("\n")[0]
        return f"{first_line}\n{self.hint}".strip()


@dataclass(frozen=True, kw_only=True)
class JobState:
    """A job as its events so far describe it."""

    job_id: str
    status: JobStatus = JobStatus.WAITING
    stage: str = ""
    """One of `contracts.progress.STAGES`; empty before the first."""
    stage_index: int = 0
    stage_count: int = 0
    step: int = 0
    steps: int = 0
    preview_paths: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    files: dict[str, str] | None = None
    """Result files by role; set when the status is DONE."""
    report: dict[str, Any] | None = None
    """`RunReport.to_dict()`; set when the status is DONE."""
    failure: JobFailure | None = None
    """Set when the status is FAILED."""
    was_forced: bool = False
    """True when the worker did not heed the cancellation and its process was ended."""

    @property
    def is_final(self) -> bool:
        """True once the job has had its last word."""
        return self.status in (JobStatus.DONE, JobStatus.CANCELLED, JobStatus.FAILED)


def sent(state: JobState) -> JobState:
    """The state after the job went to a worker, for the first time or again."""
    return JobState(job_id=state.job_id, status=JobStatus.STARTING)


def cancel_requested(state: JobState) -> JobState:
    """The state after the user asked to cancel; a job that no worker has is cancelled at once."""
    if state.is_final:
        return state
    is_waiting = state.status is JobStatus.WAITING
    return replace(state, status=JobStatus.CANCELLED if is_waiting else JobStatus.CANCELLING)


def failed(state: JobState, error: One2345Error) -> JobState:
    """The state after `error` happened on this side of the wire."""
    failure = JobFailure(code=error.code, message=error.message, hint=error.hint)
    return replace(state, status=JobStatus.FAILED, failure=failure)


def advance(state: JobState, event: Message) -> JobState:
    """The state after `event`; other jobs' events, and any after the last word, change nothing."""
    if state.is_final or event.get("job_id") != state.job_id:
        return state
    kind = event["type"]
    if kind in TERMINAL_EVENTS:
        return _finish(state, event)
    if kind == "accepted" and state.status is JobStatus.STARTING:
        return replace(state, status=JobStatus.RUNNING)
    if kind == "stage":
        return replace(
            state,
            stage=event["name"],
            stage_index=event["index"],
            stage_count=event["count"],
            step=0,
            steps=0,
        )
    if kind == "progress" and event["stage"] == state.stage:
        return replace(state, step=event["step"], steps=event["steps"])
    if kind == "preview":
        return replace(state, preview_paths=(*state.preview_paths, event["path"]))
    if kind == "warning":
        return replace(state, warnings=(*state.warnings, event["message"]))
    return state


def _finish(state: JobState, event: Message) -> JobState:
    if event["type"] == "result":
        return replace(state, status=JobStatus.DONE, files=event["files"], report=event["report"])
    if event["type"] == "cancelled":
        was_forced = bool(event.get("was_forced", False))
        return replace(state, status=JobStatus.CANCELLED, was_forced=was_forced)
    failure = JobFailure(
        code=event["code"],
        message=event["message"],
        hint=event["hint"],
        detail_path=event["detail_path"],
    )
    return replace(state, status=JobStatus.FAILED, failure=failure)
