# SPDX-License-Identifier: GPL-3.0-or-later
"""How far a conversion is, and how long it will still take: by the time that each stage takes."""

from __future__ import annotations

from collections.abc import Mapping

from ..contracts.progress import STAGES
from .job_state import JobState, JobStatus

StageSeconds = Mapping[str, float]
"""Seconds by stage name; a stage that is not in it takes none."""

TYPICAL_STAGE_SECONDS: StageSeconds = {
    "load_models": 0.3,
    "foreground": 0.2,
    "views_stage1": 1.5,
    "elevation": 0.0,
    "views_stage2": 1.7,
    "features": 0.5,
    "cost_volume": 1.2,
    "sdf": 7.2,
    "meshing": 4.4,
    "write": 0.4,
}
"""The embedded preset on two CPU cores, as docs/evaluation.md has them; its elevation is read from
the photo while the object is found. The first conversion with a preset goes by these, those after
it by the times of the one before."""

_LOADING = STAGES[0]
_MIN_SHARE_DONE = 0.05


def fraction_done(state: JobState, stage_seconds: StageSeconds) -> float:
    """0..1; it never falls while a job runs."""
    if state.status is JobStatus.DONE:
        return 1.0
    return _share(_seconds_done(state, stage_seconds), sum(stage_seconds.values()))


def seconds_left(
    state: JobState, stage_seconds: StageSeconds, working_seconds: float
) -> float | None:
    """The time that the job will still take at its pace so far; None: too early to tell.

    Args:
        state: How far the job is.
        stage_seconds: What was expected.
        working_seconds: Since the networks were loaded: a warm worker need not load them, and
            loading says nothing of the pace of the rest.
    """
    expected = {name: seconds for name, seconds in stage_seconds.items() if name != _LOADING}
    total, done = sum(expected.values()), _seconds_done(state, expected)
    if _share(done, total) < _MIN_SHARE_DONE:
        return None
    return (total - done) * working_seconds / done


def _seconds_done(state: JobState, stage_seconds: StageSeconds) -> float:
    """Of the expected time, what is behind the job."""
    if state.stage not in STAGES:
        return 0.0
    before = STAGES[: STAGES.index(state.stage)]
    within = min(state.step / state.steps, 1.0) if state.steps else 0.0
    return (
        sum(stage_seconds.get(name, 0.0) for name in before)
        + stage_seconds.get(state.stage, 0.0) * within
    )


def _share(part: float, total: float) -> float:
    return part / total if total > 0.0 else 0.0
