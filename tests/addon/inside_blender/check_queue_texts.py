# SPDX-License-Identifier: GPL-3.0-or-later
"""What the queue's rows say: names of their own, and why a conversion failed."""

from __future__ import annotations

import os
import time
from pathlib import Path

import bpy
import pytest

from one2345_blender.addon import session
from one2345_blender.addon.job_names import job_names
from one2345_blender.client.job_queue import Job
from one2345_blender.client.job_state import JobState
from one2345_blender.contracts.job import JobSpec

pytestmark = pytest.mark.usefixtures("registered_addon")


def job(job_id: str, picture: str, seed: int = 0) -> Job:
    path = Path("/pictures") / picture
    spec = JobSpec(job_id=job_id, image_path=path, output_dir=Path("/out"), seed=seed)
    return Job(spec=spec, state=JobState(job_id=job_id))


def test_rows_of_one_picture_are_told_apart() -> None:
    jobs = [
        job("a", "coffee.jpg"),
        job("b", "coffee.jpg"),
        job("c", "coffee.jpg", seed=7),
        job("d", "pot.jpg"),
        job("f", "pot.jpg"),
        job("e", "cup.jpg"),
    ]
    assert job_names(jobs, {"e": "cup.003"}) == [
        "coffee, seed 0 (1)",
        "coffee, seed 0 (2)",
        "coffee, seed 7",
        "pot (1)",
        "pot (2)",
        "cup.003",
    ]


def test_a_crash_is_told_in_a_line_and_its_log_can_be_opened(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = tmp_path / "opened"
    opener = tmp_path / "xdg-open"
    opener.write_text(f'#!/bin/sh\necho "$1" > {opened}\n')
    opener.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert not bpy.ops.one2345.open_log.poll()
    monkeypatch.setenv("ONE2345_FAKE_MODE", "crashes")
    with pytest.raises(RuntimeError, match="line 99"):
        bpy.ops.one2345.image_to_mesh(filepath=str(tmp_path / "a.png"))
    failure = session.SESSION.jobs[-1].state.failure
    assert failure is not None and failure.detail_path is not None
    first, hint = failure.brief.splitlines()
    assert "exit status 3" in first and failure.detail_path in hint

    assert bpy.ops.one2345.open_log() == {"FINISHED"}
    deadline_s = time.monotonic() + 10.0
    while not (opened.is_file() and opened.read_text()):
        assert time.monotonic() < deadline_s
        time.sleep(0.02)
    assert opened.read_text().strip() == failure.detail_path
    Path(failure.detail_path).unlink()
    with pytest.raises(RuntimeError, match="The log is gone"):
        bpy.ops.one2345.open_log()


def test_all_are_cancelled_says_the_search() -> None:
    assert bpy.ops.one2345.cancel.get_rna_type().name == "Cancel All Conversions"
