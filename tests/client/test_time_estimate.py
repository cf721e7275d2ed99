# SPDX-License-Identifier: GPL-3.0-or-later
"""Progress and time left: pure functions of a job's state."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one2345_blender.client.job_state import JobState, JobStatus
from one2345_blender.client.time_estimate import (
    TYPICAL_STAGE_SECONDS,
    fraction_done,
    seconds_left,
)
from one2345_blender.contracts.progress import STAGES

ROOT = Path(__file__).parents[2]
EVEN = dict.fromkeys(STAGES, 2.0)


def at(stage: str, step: int = 0, steps: int = 0) -> JobState:
    return replace(JobState(job_id="job"), stage=stage, step=step, steps=steps)


def test_every_stage_has_a_typical_time() -> None:
    assert tuple(TYPICAL_STAGE_SECONDS) == STAGES


def test_the_typical_times_are_those_of_the_evaluation() -> None:
    text = (ROOT / "docs" / "evaluation.md").read_text(encoding="utf-8")
    rows = re.findall(
        r"^\| ([a-z_0-9, ]+) \| ([0-9.]+) \|$", text.split("## Time and memory")[1], re.M
    )
    measured = {name: float(seconds) for name, seconds in rows}
    assert {"load_models", "sdf", "features, cost_volume"} <= set(measured)
    for names, seconds in measured.items():
        typical = sum(TYPICAL_STAGE_SECONDS[name] for name in names.split(", "))
        assert typical == pytest.approx(seconds), names
    assert TYPICAL_STAGE_SECONDS["elevation"] == 0.0, "not in the table: it takes no time"


def test_a_stage_counts_by_its_time() -> None:
    seconds = {"load_models": 1.0, "foreground": 0.0, "views_stage1": 8.0, "write": 1.0}
    assert fraction_done(at("views_stage1", 1, 4), seconds) == pytest.approx(0.3)
    assert fraction_done(at("write"), seconds) == pytest.approx(0.9)


@given(st.lists(st.floats(0.0, 100.0), min_size=len(STAGES), max_size=len(STAGES)))
def test_progress_never_falls_and_stays_within_0_and_1(seconds: list[float]) -> None:
    stage_seconds = dict(zip(STAGES, seconds, strict=True))
    states = [at(""), *(at(stage, step, 2) for stage in STAGES for step in range(3))]
    fractions = [fraction_done(state, stage_seconds) for state in states]
    assert fractions[0] == 0.0
    assert all(later - earlier >= -1e-9 for earlier, later in pairwise(fractions))
    assert max(fractions) <= 1.0 + 1e-9
    assert fraction_done(replace(states[0], status=JobStatus.DONE), stage_seconds) == 1.0


@pytest.mark.parametrize("pace", [0.1, 1.0, 30.0])
def test_at_an_even_pace_the_time_left_is_exact(pace: float) -> None:
    """However long loading took, and however fast the machine is."""
    for number, stage in enumerate(STAGES[1:]):
        for step in range(3):
            behind, total = 2.0 * (number + step / 2), 2.0 * (len(STAGES) - 1)
            left = seconds_left(at(stage, step, 2), EVEN, behind * pace)
            if behind / total < 0.05:
                assert left is None
            else:
                assert left == pytest.approx((total - behind) * pace)


def test_nothing_is_said_too_early() -> None:
    assert seconds_left(at(""), EVEN, 0.0) is None
    assert seconds_left(at("load_models", 1, 2), EVEN, 0.0) is None
    assert seconds_left(at("views_stage1"), {}, 3.0) is None
