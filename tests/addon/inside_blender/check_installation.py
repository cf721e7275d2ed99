# SPDX-License-Identifier: GPL-3.0-or-later
"""The buttons that install the runtime and fetch the weights, with the real installer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import bpy
import pytest
from conftest import REAL_PYTHON
from fault_server import Fault, FaultServer
from tiny_release import TinyRelease, wait_for

from one2345_blender.addon import installation_operators, preferences
from one2345_blender.addon.installation import INSTALLATION, offline_reason
from one2345_blender.addon.installation_box import cost, outcome, progress
from one2345_blender.addon.self_test import PICTURE
from one2345_blender.client import installation_commands
from one2345_blender.client.job_state import JobState, JobStatus

pytestmark = pytest.mark.usefixtures("registered_addon")


@pytest.fixture
def runtime(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where an installed extension would have its runtime."""
    folder = tmp_path / "extension's folder" / "runtime"
    monkeypatch.setattr(preferences, "runtime_dir", lambda: folder)
    return folder


def use_release(release: TinyRelease, monkeypatch: pytest.MonkeyPatch) -> None:
    """The installer beside tiny wheels, no package index of this machine."""
    monkeypatch.setattr(installation_commands, "PACKAGE_PARENT", release.folder)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS"):
        monkeypatch.delenv(name, raising=False)


def said() -> str:
    state = INSTALLATION.state
    assert state is not None
    return outcome(INSTALLATION.action, state)


def test_the_cost_is_told_before_anything_is_downloaded(runtime: Path) -> None:
    assert bpy.ops.one2345.plan_runtime() == {"FINISHED"}
    state = INSTALLATION.state
    assert state is not None and state.report is not None
    assert state.report["download_bytes"] > 100e6 and "MB to download" in said()
    assert not runtime.parent.exists()


def test_installed_from_local_files_without_a_network_and_removed(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = TinyRelease.make(tmp_path / "release", "http://127.0.0.1:9")
    use_release(release, monkeypatch)
    wheels = release.write_wheels(tmp_path / "wheels")
    monkeypatch.setattr(preferences, "local_files", lambda: str(wheels))
    assert bpy.ops.one2345.install_runtime() == {"FINISHED"}
    assert (runtime / ".complete").is_file() and said() == "Done."
    assert bpy.ops.one2345.remove_runtime() == {"FINISHED"}
    assert not runtime.exists() and "MB are free again" in said()


@pytest.fixture
def stalled_server(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[FaultServer]:
    """An installation is under way and waits for this server, as long as it has faults."""
    monkeypatch.setattr(installation_operators, "offline_reason", lambda: "")
    with FaultServer({}) as server:
        release = TinyRelease.make(tmp_path / "release", server.url)
        use_release(release, monkeypatch)
        server.files.update({f"/{name}": data for name, data in release.wheels.items()})
        server.faults[f"/{release.payload_wheel}"] = [Fault("stall")] * 20
        INSTALLATION.run_installer("one2345.install_runtime")
        part = runtime.with_name("runtime.work") / "wheels" / f"{release.payload_wheel}.part"
        wait_for(lambda: part.exists() and part.stat().st_size, timeout_s=240.0)
        yield server


def test_a_cancelled_installation_goes_on_the_next_time(
    runtime: Path, stalled_server: FaultServer
) -> None:
    assert not bpy.ops.one2345.install_runtime.poll()
    assert bpy.ops.one2345.cancel_installation() == {"FINISHED"}
    INSTALLATION.wait()
    assert INSTALLATION.state is not None
    assert INSTALLATION.state.status is JobStatus.CANCELLED and "kept" in said()
    assert not runtime.exists()
    stalled_server.faults.clear()
    assert bpy.ops.one2345.install_runtime() == {"FINISHED"}
    assert stalled_server.requests[-1][2].startswith("bytes=")
    assert (runtime / ".complete").is_file()


@pytest.mark.usefixtures("stalled_server")
def test_during_an_installation_only_another_python_converts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert bpy.ops.one2345.image_to_mesh(filepath=str(PICTURE)) == {"FINISHED"}
    assert INSTALLATION.is_changing_runtime, "it has not been disturbed"
    monkeypatch.delenv("ONE2345_PYTHON")
    with pytest.raises(RuntimeError, match="runtime is being installed"):
        bpy.ops.one2345.image_to_mesh(filepath=str(PICTURE))
    INSTALLATION.cancel()
    INSTALLATION.wait()
    with pytest.raises(RuntimeError, match="Install Runtime"):
        bpy.ops.one2345.self_test()


def test_without_online_access_only_local_files_can_be_had(
    runtime: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bpy.context.preferences.system.use_online_access = False
    assert "Allow Online Access" in offline_reason() or "--offline-mode" in offline_reason()
    for operator in ("install_runtime", "plan_weights", "download_weights"):
        assert not getattr(bpy.ops.one2345, operator).poll()
    assert bpy.ops.one2345.plan_runtime.poll()
    monkeypatch.setattr(preferences, "local_files", lambda: str(tmp_path))
    monkeypatch.setenv("ONE2345_PYTHON", REAL_PYTHON)
    monkeypatch.setenv("ONE2345_PRESETS", str(tmp_path / "presets"))
    with pytest.raises(RuntimeError, match="Allow Online Access"):
        bpy.ops.one2345.plan_weights()


def test_an_add_on_run_from_source_has_no_place_for_a_runtime() -> None:
    assert not bpy.ops.one2345.plan_runtime.poll()


def test_what_the_page_says() -> None:
    state = JobState(job_id="install", status=JobStatus.STARTING, stage="download")
    assert progress(state) == "Downloading"
    state = JobState(job_id="install", stage="download", step=3_000_000, steps=315_000_000)
    assert progress(state) == "Downloading: 3 of 315 MB"
    finding = {"name": "disk", "status": "error", "found": "1 GB free", "hint": "Free some."}
    text = cost({"download_bytes": 1e6, "needed_bytes": 2e9, "preflight": [finding]})
    assert "1 MB to download, 2,000 MB" in text and "disk: 1 GB free. Free some." in text
