# SPDX-License-Identifier: GPL-3.0-or-later
"""Conversions that fail, crash, hang, wait their turn, are cancelled or outlive their file."""

from __future__ import annotations

import threading
from pathlib import Path

import bpy
import pytest
from started_jobs import convert, start_job, step_until

from one2345_blender.addon import session
from one2345_blender.client.job_state import JobStatus

pytestmark = pytest.mark.usefixtures("registered_addon")


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        ("fails", "No object was found.\nChoose another picture."),
        ("bug", "Unexpected KeyError"),
        ("crashes", "exit status 3"),
        ("lies_type", "step is not as expected"),
        ("lies_twice", "The worker's result lacks 'mesh_npz'"),
        ("wrong_protocol", "Install Runtime"),
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


def test_cancel_leaves_nothing_and_takes_the_worker_along(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "slow")
    assert not bpy.ops.one2345.cancel.poll()
    job = start_job(tmp_path)
    step_until(lambda: job.state.stage)
    assert bpy.ops.one2345.cancel() == {"FINISHED"}
    session.SESSION.wait([job])
    assert job.state.status is JobStatus.CANCELLED and not job.state.was_forced
    assert len(bpy.data.objects) == 0
    step_until(lambda: not session.SESSION.queue.has_process)
    assert not bpy.ops.one2345.cancel.poll()


def test_pictures_wait_their_turn_and_each_becomes_its_own_object(tmp_path: Path) -> None:
    jobs = [start_job(tmp_path, f"cup {number}") for number in range(3)]
    session.SESSION.step()
    assert [job.state.status for job in jobs] == [
        JobStatus.STARTING,
        JobStatus.WAITING,
        JobStatus.WAITING,
    ]
    session.SESSION.wait(jobs)
    assert [job.state.status for job in jobs] == [JobStatus.DONE] * 3
    meshes = [placed.name for placed in bpy.data.objects if placed.type == "MESH"]
    assert meshes == ["cup 0", "cup 1", "cup 2"]


def test_several_files_become_a_row_of_objects_named_after_them(tmp_path: Path) -> None:
    bpy.context.scene.cursor.location = (1.0, 2.0, 0.0)
    names = ["a.png", "b.png", "c.jpg"]
    result = bpy.ops.one2345.image_to_mesh(
        directory=str(tmp_path), files=[{"name": name} for name in names], scale=2.0
    )
    assert result == {"FINISHED"}
    row = [bpy.data.objects[name] for name in "abc"]
    assert [placed.location.x for placed in row] == [1.0, 4.0, 7.0]
    assert {tuple(placed.location)[1:] for placed in row} == {(2.0, 0.0)}
    width = max(placed.dimensions.x for placed in row)
    assert width < 3.0, "they must not touch"


def test_one_bad_picture_of_several_is_named_and_the_others_are_converted(
    tmp_path: Path,
) -> None:
    (tmp_path / "kept").mkdir()
    (tmp_path / "kept" / "b.png").touch()  # a file in the way of the folder of that name
    with pytest.raises(RuntimeError, match="Expected a folder that can be written to"):
        bpy.ops.one2345.image_to_mesh(
            directory=str(tmp_path),
            files=[{"name": "a.png"}, {"name": "b.png"}],
            output_dir=str(tmp_path / "kept"),
        )
    assert session.SESSION.jobs == [] and len(bpy.data.objects) == 0


def test_dropped_pictures_take_the_panel_s_settings(tmp_path: Path) -> None:
    chosen = bpy.context.scene.one2345
    chosen.seed, chosen.estimate_elevation, chosen.elevation_deg = 11, False, 35.0
    files = [{"name": "a.png"}, {"name": "b.png"}]
    assert bpy.ops.one2345.drop_pictures(directory=str(tmp_path), files=files) == {"FINISHED"}
    for name in "ab":
        assert bpy.data.objects[name]["one2345_seed"] == 11
        assert bpy.data.objects[name]["one2345_elevation_deg"] == 35.0


def test_a_refused_drop_is_a_report_and_no_traceback(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("ONE2345_PYTHON")
    with pytest.raises(RuntimeError, match="runtime of One-2-3-45 is not installed") as refused:
        bpy.ops.one2345.drop_pictures(directory=str(tmp_path), files=[{"name": "a.png"}])
    assert "Traceback" not in str(refused.value), "the operator raised"


def test_a_drop_of_nothing_is_an_error() -> None:
    with pytest.raises(RuntimeError, match="Expected pictures"):
        bpy.ops.one2345.drop_pictures()


def test_a_drop_named_beside_the_blend_file_is_found(tmp_path: Path) -> None:
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    assert bpy.ops.one2345.drop_pictures(filepath="//cup.png") == {"FINISHED"}
    assert bpy.data.objects["cup"]["one2345_image_path"] == str(tmp_path / "cup.png")


def test_a_drop_is_one_undo_step(tmp_path: Path) -> None:
    bpy.ops.ed.undo_push(message="before")
    as_a_user = ("EXEC_DEFAULT", True)
    files = [{"name": "a.png"}]
    bpy.ops.one2345.drop_pictures(*as_a_user, directory=str(tmp_path), files=files)
    assert "a" in bpy.data.objects
    bpy.ops.ed.undo()
    assert len(bpy.data.objects) == 0


def test_a_preset_s_folder_is_absolute_for_the_worker(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "weights").mkdir()
    monkeypatch.chdir(tmp_path)
    for name, expected in (
        ("weights", str(tmp_path / "weights")),
        ("./weights", str(tmp_path / "weights")),
        ("embedded", "embedded"),
        ("misspelt", "misspelt"),
    ):
        convert(tmp_path, preset=name)
        assert session.SESSION.jobs[-1].spec.preset == expected


def test_no_picture_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="Expected a picture"):
        bpy.ops.one2345.image_to_mesh()


def test_the_worker_stays_warm_between_jobs(tmp_path: Path) -> None:
    convert(tmp_path)
    assert session.SESSION.queue.is_warm and bpy.ops.one2345.unload.poll()
    assert bpy.ops.one2345.unload() == {"FINISHED"}
    assert not session.SESSION.queue.is_warm and not bpy.ops.one2345.unload.poll()
    assert convert(tmp_path) == {"FINISHED"}


def test_a_job_outlives_its_file_and_its_result_waits_for_a_place(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "slow")
    job = start_job(tmp_path)
    step_until(lambda: job.state.stage)
    bpy.ops.wm.read_homefile(use_empty=True)
    session.SESSION.wait([job])
    assert job.state.status is JobStatus.DONE and session.SESSION.is_unplaced(job)
    assert len(bpy.data.objects) == 0
    assert bpy.ops.one2345.place_result(job_id="job-1") == {"FINISHED"}
    assert "job-1" in bpy.data.objects and not session.SESSION.is_unplaced(job)


def test_a_job_survives_undo_renaming_saving_and_another_active_scene(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "slow")
    scene_name = bpy.context.scene.name
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.object.empty_add()
    bpy.ops.ed.undo_push(message="an empty")
    job = start_job(tmp_path)
    step_until(lambda: job.state.stage)
    bpy.ops.ed.undo()
    bpy.data.scenes[scene_name].name = "renamed"
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "scene.blend"))
    bpy.context.window.scene = bpy.data.scenes.new("other")
    session.SESSION.wait([job])
    assert job.state.status is JobStatus.DONE
    assert "job-1" in bpy.data.scenes["renamed"].objects
    assert "job-1" not in bpy.data.scenes["other"].objects


def test_a_render_ends_the_worker_if_wanted_and_the_job_starts_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "slow")
    monkeypatch.setattr(session.preferences, "makes_room_for_render", lambda: True)
    scene = bpy.context.scene
    scene.camera = bpy.data.objects.new("camera", bpy.data.cameras.new("camera"))
    scene.render.engine = "BLENDER_WORKBENCH"
    scene.render.resolution_x = scene.render.resolution_y = 8
    job = start_job(tmp_path)
    step_until(lambda: job.state.stage)
    processes: list[bool] = []
    bpy.app.handlers.render_pre.append(
        lambda *_: processes.append(session.SESSION.queue.has_process)
    )
    bpy.ops.render.render()
    assert processes == [False]
    assert job.state.status is JobStatus.WAITING
    session.SESSION.wait([job])
    assert job.state.status is JobStatus.DONE


def test_a_render_in_its_own_thread_finds_the_worker_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """F12 calls its handlers from the thread that renders."""
    monkeypatch.setenv("ONE2345_FAKE_MODE", "slow")
    monkeypatch.setattr(session.preferences, "makes_room_for_render", lambda: True)
    job = start_job(tmp_path)
    step_until(lambda: job.state.stage)
    begins = next(h for h in bpy.app.handlers.render_init if h.__module__ == session.__name__)
    render = threading.Thread(target=begins, args=(bpy.context.scene,))
    render.start()
    render.join()
    assert not session.SESSION.queue.has_process and job.state.status is JobStatus.WAITING
    session.SESSION.wait([job])
    assert job.state.status is JobStatus.DONE


def test_finished_jobs_can_be_taken_out_of_the_list(tmp_path: Path) -> None:
    assert not bpy.ops.one2345.forget.poll()
    convert(tmp_path)
    assert len(session.SESSION.jobs) == 1
    assert bpy.ops.one2345.forget() == {"FINISHED"}
    assert session.SESSION.jobs == [] and len(bpy.data.objects) == 2
