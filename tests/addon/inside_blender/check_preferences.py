# SPDX-License-Identifier: GPL-3.0-or-later
"""The self-test, the diagnostic report, and what the preferences say of the disk."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from one2345_blender.addon import diagnostics, preferences_page, session
from one2345_blender.addon.self_test import PICTURE, outcome, self_test_job
from one2345_blender.contracts.job import JobSpec
from one2345_blender.version import __version__

pytestmark = pytest.mark.usefixtures("registered_addon")


def test_the_self_test_says_that_it_passed_and_adds_nothing_to_the_scene() -> None:
    assert bpy.ops.one2345.self_test() == {"FINISHED"}
    job = self_test_job()
    assert job is not None and outcome(job).startswith("Self-test passed in")
    assert len(bpy.data.objects) == 0 and not bpy.ops.one2345.place_result.poll()


def test_a_self_test_that_fails_names_the_stage(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "fails_in_elevation")
    with pytest.raises(
        RuntimeError, match="failed at “Estimating the elevation”: There is no surface"
    ):
        bpy.ops.one2345.self_test()


def test_a_self_test_without_a_python_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ONE2345_PYTHON")
    with pytest.raises(RuntimeError, match="runtime of One-2-3-45 is not installed"):
        bpy.ops.one2345.self_test()


def test_the_built_in_picture_is_a_small_cut_out() -> None:
    picture = bpy.data.images.load(str(PICTURE))
    assert tuple(picture.size) == (96, 96)
    alpha = list(picture.pixels)[3::4]
    assert min(alpha) == 0.0 and max(alpha) == 1.0


def test_the_report_has_versions_and_errors_but_no_private_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "crashes")
    photo = tmp_path / "secret client.png"
    with pytest.raises(RuntimeError, match="exit status 3"):
        bpy.ops.one2345.image_to_mesh(filepath=str(photo))
    bpy.ops.wm.save_as_mainfile(filepath=str(tmp_path / "secret scene.blend"))
    report = diagnostics.report_text()
    assert __version__ in report and bpy.app.version_string in report
    assert "worker_crashed" in report and "exit status 3" in report and "line 99" in report
    for private in ("secret", str(tmp_path), str(Path.home()), bpy.app.tempdir):
        assert private not in report
    with pytest.raises(RuntimeError, match="Without a window Blender has no clipboard"):
        bpy.ops.one2345.copy_diagnostics()


def test_the_report_says_when_a_worker_had_to_be_ended(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_FAKE_MODE", "hangs")
    spec = JobSpec(job_id="job", image_path=tmp_path / "a.png", output_dir=tmp_path / "out")
    job = session.SESSION.start(spec, None)
    session.SESSION.step()
    session.SESSION.cancel(job)
    session.SESSION.wait([job])
    assert "did not stop in time" in diagnostics.report_text()


def test_the_report_before_anything_ran() -> None:
    session.SESSION.queue.worker_versions.clear()
    assert "not started yet" in diagnostics.report_text()


def test_places_are_named_or_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_PRESETS", str(tmp_path))
    runtime, embedded, published = preferences_page.places()
    assert runtime.name == "Runtime" and not runtime.is_missing and runtime.folder is None
    assert not embedded.is_missing and embedded.folder is not None
    assert published.folder is None and not published.is_missing
    (tmp_path / "zero123-xl").mkdir()
    assert preferences_page.places()[2].folder == tmp_path / "zero123-xl"
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    (environment / "bin" / "python").touch()
    (environment / "pyvenv.cfg").touch()
    monkeypatch.setenv("ONE2345_PYTHON", str(environment / "bin" / "python"))
    assert preferences_page.places()[0].folder == environment
    monkeypatch.setenv("ONE2345_PYTHON", str(tmp_path / "missing"))
    assert preferences_page.places()[0].is_missing
