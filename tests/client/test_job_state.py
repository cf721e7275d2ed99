# SPDX-License-Identifier: GPL-3.0-or-later
"""The job's state machine: no process, no time."""

from __future__ import annotations

import itertools

import pytest

from one2345_blender.client.job_state import JobState, JobStatus, advance, cancel_requested, sent
from one2345_blender.contracts.messages import Message

JOB = "job-1"
LAST_WORDS: list[Message] = [
    {"type": "result", "job_id": JOB, "files": {"mesh_npz": "m"}, "report": {"seed": 1}},
    {"type": "cancelled", "job_id": JOB},
    {
        "type": "error",
        "job_id": JOB,
        "code": "foreground",
        "message": "No object.",
        "hint": "Another picture.",
        "detail_path": None,
    },
]


def play(*events: Message) -> JobState:
    state = sent(JobState(job_id=JOB))
    for event in events:
        state = advance(state, event)
    return state


def stage(name: str, index: int) -> Message:
    return {"type": "stage", "job_id": JOB, "name": name, "index": index, "count": 4}


def progress(name: str, step: int) -> Message:
    return {"type": "progress", "job_id": JOB, "stage": name, "step": step, "steps": 2}


def test_progress_is_that_of_the_stage_under_way() -> None:
    state = play(stage("a", 0), progress("a", 2), stage("b", 1), progress("a", 1))
    assert (state.stage, state.stage_index, state.step, state.steps) == ("b", 1, 0, 0)
    assert play(stage("b", 1), progress("b", 1)).step == 1


@pytest.mark.parametrize(("first", "second"), list(itertools.product(LAST_WORDS, LAST_WORDS)))
def test_the_first_last_word_stands(first: Message, second: Message) -> None:
    assert play(first) == play(first, second, stage("a", 0))


def test_last_words_are_kept() -> None:
    done, cancelled, failed = (play(word) for word in LAST_WORDS)
    assert done.status is JobStatus.DONE and done.files == {"mesh_npz": "m"}
    assert cancelled.status is JobStatus.CANCELLED and not cancelled.was_forced
    assert failed.failure is not None and str(failed.failure) == "No object.\nAnother picture."


def test_a_cancelled_job_may_still_finish_first() -> None:
    state = cancel_requested(play(stage("a", 0)))
    assert state.status is JobStatus.CANCELLING
    assert advance(state, {"type": "accepted", "job_id": JOB}).status is JobStatus.CANCELLING
    done = advance(state, LAST_WORDS[0])
    assert done.status is JobStatus.DONE
    assert cancel_requested(done) is done


def test_other_jobs_change_nothing() -> None:
    assert play({**LAST_WORDS[0], "job_id": "other"}) == play()


def test_a_job_that_waits_is_cancelled_without_a_worker_s_word() -> None:
    assert cancel_requested(JobState(job_id=JOB)).status is JobStatus.CANCELLED


def test_a_job_sent_again_starts_from_nothing() -> None:
    assert sent(play(stage("a", 0), progress("a", 1))) == play()
