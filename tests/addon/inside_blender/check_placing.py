# SPDX-License-Identifier: GPL-3.0-or-later
"""Where results go, when, and what is left of those that cannot be placed."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest
from started_jobs import convert, placement_in, start_job

from one2345_blender.addon import place_result, session, texts
from one2345_blender.client.job_queue import Job
from one2345_blender.client.job_state import JobStatus
from one2345_blender.contracts.job import JobSpec

pytestmark = pytest.mark.usefixtures("registered_addon")


def unplaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, obstacle: str) -> Job:
    """A finished job whose result waits because `obstacle` of `viewport` is true."""
    monkeypatch.setattr(session.viewport, obstacle, lambda: True)
    job = start_job(tmp_path)
    session.SESSION.wait([job])
    session.SESSION.step()
    assert session.SESSION.is_unplaced(job) and len(bpy.data.objects) == 0
    return job


@pytest.mark.parametrize(
    ("obstacle", "said"),
    [("is_user_busy", "let go of the mouse"), ("is_rendering", "when the render is over")],
)
def test_a_result_waits_for_the_user_and_for_a_render_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, obstacle: str, said: str
) -> None:
    job = unplaced(tmp_path, monkeypatch, obstacle=obstacle)
    assert said in texts.why_unplaced(has_scene=session.SESSION.has_scene(job))
    assert "not open" in texts.why_unplaced(has_scene=False)
    monkeypatch.setattr(session.viewport, obstacle, lambda: False)
    session.SESSION.step()
    assert "job-1" in bpy.data.objects and not session.SESSION.is_unplaced(job)


def everything() -> dict[str, list[str]]:
    kinds = ("objects", "meshes", "cameras", "materials", "images", "collections")
    return {kind: [data.name for data in getattr(bpy.data, kind)] for kind in kinds}


@pytest.mark.parametrize("cause", ["no photo", "in the midst"])
def test_a_result_that_cannot_be_placed_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cause: str
) -> None:
    before = everything()
    job = unplaced(tmp_path, monkeypatch, obstacle="is_user_busy")
    if cause == "no photo":
        (tmp_path / "job-1" / "photo.png").unlink()
    else:
        monkeypatch.setattr(place_result, "_link", lambda *_: 1 / 0)
    monkeypatch.setattr(session.viewport, "is_user_busy", lambda: False)
    session.SESSION.step()
    assert job.state.status is JobStatus.FAILED
    assert ("photo.png cannot be read" if cause == "no photo" else "ZeroDivisionError") in str(
        job.state.failure
    )
    assert everything() == before


def test_whatever_goes_wrong_stands_in_the_job_s_row_and_the_queue_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    placing = session.place_result
    monkeypatch.setattr(session, "place_result", lambda *_, **__: [][1])
    first = start_job(tmp_path)
    session.SESSION.wait([first])
    assert "IndexError: list index out of range" in str(first.state.failure)
    assert "Traceback" in caplog.text and "IndexError" in caplog.text
    monkeypatch.setattr(session, "place_result", placing)
    second = start_job(tmp_path, "job-2")
    session.SESSION.wait([second])
    assert "job-2" in bpy.data.objects


def test_only_results_that_wait_are_placed(tmp_path: Path) -> None:
    convert(tmp_path)
    assert not bpy.ops.one2345.place_result.poll()
    with pytest.raises(RuntimeError, match="All finished objects are in their scenes"):
        bpy.ops.one2345.place_result()
    unplaced_job = unplaced_in_a_gone_scene(tmp_path)
    assert bpy.ops.one2345.place_result() == {"FINISHED"}
    meshes = [placed.name for placed in bpy.data.objects if placed.type == "MESH"]
    assert meshes == ["a", "photo"] and not session.SESSION.is_unplaced(unplaced_job)


def unplaced_in_a_gone_scene(tmp_path: Path) -> Job:
    doomed = bpy.data.scenes.new("doomed")
    spec = JobSpec(job_id="job", image_path=tmp_path / "a.png", output_dir=tmp_path / "out")
    job = session.SESSION.start(spec, placement_in(doomed))
    bpy.data.scenes.remove(doomed)
    session.SESSION.wait([job])
    return job


def test_objects_stand_beside_those_that_are_there(tmp_path: Path) -> None:
    cursor = bpy.context.scene.cursor
    cursor.location = (1.0, 2.0, 0.0)
    for _ in range(3):
        convert(tmp_path)
    assert places() == [(1.0, 2.0, 0.0), (2.5, 2.0, 0.0), (4.0, 2.0, 0.0)]
    bpy.data.objects["photo.001"].location.y = 9.0
    bpy.context.view_layer.update()
    convert(tmp_path)
    assert places()[3] == (2.5, 2.0, 0.0), "there is room again"
    convert(tmp_path, scale=3.0)
    assert places()[4] == (10.0, 2.0, 0.0), "three times as far, from larger and smaller ones"
    convert(tmp_path, location=(1.0, 2.0, 0.0))
    assert places()[5] == (1.0, 2.0, 0.0), "as one says"
    cursor.location.z = 5.0
    convert(tmp_path)
    assert places()[6] == (1.0, 2.0, 5.0), "upon a shelf"


def test_an_object_that_lost_its_properties_keeps_its_place(tmp_path: Path) -> None:
    convert(tmp_path)
    placed = bpy.data.objects["photo"]
    del placed["one2345_scale"]
    placed.scale.x = -1.0
    bpy.context.view_layer.update()
    convert(tmp_path)
    assert places()[1] == (1.5, 0.0, 0.0)


def places() -> list[tuple[float, ...]]:
    meshes = sorted(placed.name for placed in bpy.data.objects if placed.type == "MESH")
    return [tuple(bpy.data.objects[name].location) for name in meshes]


def test_places_are_kept_for_those_that_wait(tmp_path: Path) -> None:
    scene = bpy.context.scene
    job = start_job(tmp_path)
    (kept,) = session.SESSION.places_taken(scene)
    assert kept.ground_point == (0.0, 0.0, 0.0)
    session.SESSION.cancel(job)
    session.SESSION.wait([job])
    assert session.SESSION.places_taken(scene) == []


def test_a_deleted_scene_s_result_goes_nowhere_unasked(tmp_path: Path) -> None:
    job = unplaced_in_a_gone_scene(tmp_path)
    assert session.SESSION.is_unplaced(job) and len(bpy.data.objects) == 0
