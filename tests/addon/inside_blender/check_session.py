# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs that fail, crash, hang, are cancelled or outlive their file."""

from __future__ import annotations

import time
from pathlib import Path

import bpy
import pytest

from one2345_blender.addon import session
from one2345_blender.addon.place_result import Placement
from one2345_blender.client.job_state import JobStatus
from one2345_blender.contracts.errors import OptionError
from one2345_blender.contracts.job import JobSpec

pytestmark = pytest.mark.usefixtures("registered_addon")


def convert(tmp_path: Path, **options: object) -> set[str]:
    result: set[str] = bpy.ops.one2345.image_to_mesh(
        filepath=str(tmp_path / "photo.png"), **options
    )
    return result


def start_job(tmp_path: Path, job_id: str = "job-1") -> None:
    spec = JobSpec(job_id=job_id, image_path=tmp_path / "a.png", output_dir=tmp_path / "out")
    session.SESSION.start(spec, Placement.at_cursor(bpy.context.scene))


def step_until_busy_with_a_stage() -> None:
    deadline_s = time.monotonic() + 20.0
    while not session.SESSION.state.stage:
        assert time.monotonic() < deadline_s
        session.SESSION.step()
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("fails", "No object was found.\nChoose another picture."),
        ("bug", "Unexpected KeyError"),
        ("crashes", "exit status 3"),
        ("lies_type", "unexpected type"),
        ("lies_twice", "The worker's result lacks 'mesh_npz'"),
        ("wrong_protocol", "Re-install the worker"),
    ],
)
def test_a_failure_is_reported_and_the_next_job_works(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: str, expected: str
) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", mode)
    with pytest.raises(RuntimeError, match=expected):
        convert(tmp_path)
    assert len(bpy.data.objects) == len(bpy.data.meshes) == len(bpy.data.cameras) == 0
    monkeypatch.setenv("ONE2345_FAKE_MODE", "ok")
    assert convert(tmp_path) == {"FINISHED"}


def test_no_worker_python_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONE2345_PYTHON")
    with pytest.raises(RuntimeError, match="ONE2345_PYTHON"):
        convert(tmp_path)


def test_an_option_out_of_range_and_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="grid_resolution: expected a whole number from 16"):
        convert(tmp_path, grid_resolution=3)
    (tmp_path / "a file").touch()
    with pytest.raises(RuntimeError, match="Expected a folder that can be written to"):
        convert(tmp_path, output_dir=str(tmp_path / "a file"))


def test_results_stay_in_the_folder_that_was_asked_for(tmp_path: Path) -> None:
    convert(tmp_path, output_dir=str(tmp_path / "kept"))
    assert (tmp_path / "kept" / "mesh.npz").is_file()


def test_stepping_does_not_block_and_cancel_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "slow")
    start_job(tmp_path)
    step_until_busy_with_a_stage()
    began_s = time.monotonic()
    session.SESSION.step()
    assert time.monotonic() - began_s < 0.1
    assert not bpy.ops.one2345.image_to_mesh.poll()
    with pytest.raises(OptionError, match="already under way"):
        start_job(tmp_path, "job-2")
    assert bpy.ops.one2345.cancel() == {"FINISHED"}
    state = session.SESSION.wait()
    assert state.status is JobStatus.CANCELLED and not state.was_forced
    assert len(bpy.data.objects) == 0
    assert not bpy.ops.one2345.cancel.poll()


def test_the_worker_stays_warm_between_jobs(tmp_path: Path) -> None:
    convert(tmp_path)
    began_s = time.monotonic()
    convert(tmp_path)
    assert time.monotonic() - began_s < 1.0


def test_opening_another_file_ends_the_job(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "slow")
    start_job(tmp_path)
    step_until_busy_with_a_stage()
    bpy.ops.wm.read_homefile(use_empty=True)
    assert session.SESSION.state is None and bpy.ops.one2345.image_to_mesh.poll()


def test_a_scene_that_is_gone_is_an_error_not_another_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    start_job(tmp_path)
    bpy.context.scene.name = "renamed"
    state = session.SESSION.wait()
    assert state.status is JobStatus.FAILED and "is gone" in str(state.failure)
