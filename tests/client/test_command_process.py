# SPDX-License-Identifier: GPL-3.0-or-later
"""Commands that install and download: listened to, cancelled, and ended for sure."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from one2345_blender.client import command_process
from one2345_blender.client.command_process import CommandProcess
from one2345_blender.client.environment import WorkerLaunch, worker_environment
from one2345_blender.client.installation_commands import weights_launch
from one2345_blender.client.job_state import JobStatus
from one2345_blender.contracts.errors import EnvironmentMissingError

SPEAK = """
import json, signal, sys, time
def say(**event):
    print(json.dumps({"job_id": "install", **event}), flush=True)
"""
DOWNLOADS = (
    SPEAK
    + """
say(type="preflight", findings=[])
say(type="stage", name="download", index=1, count=6)
say(type="progress", stage="download", step=3, steps=10)
"""
)


@pytest.fixture
def run(tmp_path: Path) -> Callable[[str], CommandProcess]:
    def run(code: str) -> CommandProcess:
        launch = WorkerLaunch(argv=(sys.executable, "-c", code), env=worker_environment(os.environ))
        return CommandProcess(launch, job_id="install", log_path=tmp_path / "log")

    return run


def step_until(command: CommandProcess, is_so: Callable[[], bool]) -> None:
    deadline_s = time.monotonic() + 120.0
    while not is_so():
        assert time.monotonic() < deadline_s, command.state
        command.step()
        time.sleep(0.01)


def test_progress_and_result(run: Callable[[str], CommandProcess]) -> None:
    command = run(DOWNLOADS + 'say(type="result", files={}, report={"status": "installed"})')
    step_until(command, lambda: command.is_over)
    state = command.state
    assert state.status is JobStatus.DONE and state.report == {"status": "installed"}
    assert (state.stage, state.step, state.steps) == ("download", 3, 10)


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import sys; sys.exit('no such thing')", "no such thing"),
        (SPEAK + "print('garbage', flush=True); time.sleep(600)", "JSON"),
        ("", "exit status 0"),
    ],
    ids=["crash", "garbage", "silence"],
)
def test_one_that_ends_without_its_last_word_has_failed(
    run: Callable[[str], CommandProcess], code: str, said: str
) -> None:
    command = run(code)
    step_until(command, lambda: command.is_over)
    assert command.state.status is JobStatus.FAILED and said in str(command.state.failure)


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("heeds", [True, False], ids=["heeded", "not heeded"])
def test_cancel(
    run: Callable[[str], CommandProcess], monkeypatch: pytest.MonkeyPatch, heeds: bool
) -> None:
    monkeypatch.setattr(command_process, "CANCEL_S", 120.0 if heeds else 0.1)
    handler = "lambda *_: (say(type='cancelled'), sys.exit(130))" if heeds else "signal.SIG_IGN"
    command = run(
        SPEAK + f"signal.signal(signal.SIGTERM, {handler})\n" + DOWNLOADS + "time.sleep(600)"
    )
    step_until(command, lambda: command.state.step == 3)
    command.cancel()
    assert not command.is_over
    step_until(command, lambda: command.is_over)
    assert command.state.status is JobStatus.CANCELLED
    assert command.state.was_forced is not heeds


def test_an_interpreter_that_is_not_there(tmp_path: Path) -> None:
    launch = WorkerLaunch(argv=(str(tmp_path / "missing"),), env={})
    with pytest.raises(EnvironmentMissingError, match="missing"):
        CommandProcess(launch, job_id="install", log_path=tmp_path / "log")


def test_offline_the_hub_is_not_asked() -> None:
    offline = weights_launch(Path("python"), {}, "zero123-xl", is_online=False)
    online = weights_launch(Path("python"), {}, "zero123-xl", is_online=True)
    assert offline.env["HF_HUB_OFFLINE"] == "1" and "HF_HUB_OFFLINE" not in online.env
