# SPDX-License-Identifier: GPL-3.0-or-later
"""The installer: the right build of torch, nothing half done, words that the client understands.

It runs as a separate process, as the client runs it; no test downloads anything.
"""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from one2345_blender.contracts.messages import EVENTS, TERMINAL_EVENTS, decode_line

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "vendor_install.py"


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("vendor_install", SCRIPT)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


vendor_install = load_script()


def run(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and events, each of which the client can read."""
    finished = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--json"],
        capture_output=True,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )
    events = [decode_line(line, EVENTS) for line in finished.stdout.splitlines()]
    assert [event["type"] in TERMINAL_EVENTS for event in events if event][-1:] == [True]
    return finished.returncode, [event for event in events if event]


@pytest.mark.parametrize(
    ("device", "system", "build"),
    [
        ("cpu", "Linux", "torch==2.13.0+cpu"),
        ("cpu", "Windows", "torch==2.13.0+cpu"),
        ("cpu", "Darwin", "torch==2.13.0"),
        ("cuda", "Linux", "torch==2.13.0"),
    ],
)
def test_torch_build_names_the_device(device: str, system: str, build: str) -> None:
    requirement, index = vendor_install.torch_build("torch==2.13.0", device, system)
    assert requirement == build
    assert (index is not None) == ("+" in build)


def test_auto_is_cpu_without_nvidia_smi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    assert vendor_install.resolve_device("auto") == "cpu"


def test_dry_run_plans_and_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "environment with spaces ü"
    status, (result,) = run("--target", str(target), "--device", "cpu", "--dry-run")
    assert status == 0
    assert result["report"]["device"] == "cpu"
    assert "torch==2.13.0" in result["report"]["requirements"]
    assert result["report"]["status"] == "planned"
    assert not target.exists()


def test_complete_environment_is_left_alone(tmp_path: Path) -> None:
    arguments = ["--target", str(tmp_path), "--extras", "pipeline", "--device", "cpu"]
    _, (planned,) = run(*arguments, "--dry-run")
    python = Path(planned["files"]["python"])
    python.parent.mkdir()
    python.touch()
    contents = {key: planned["report"][key] for key in ("python", "device", "requirements")}
    (tmp_path / ".complete").write_text(json.dumps(contents))
    status, (result,) = run(*arguments)
    assert status == 0
    assert result["report"]["status"] == "complete"


def test_failed_install_is_not_complete_and_says_why(tmp_path: Path) -> None:
    target = tmp_path / "environment"
    nothing_to_be_had = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": "", "PIP_CONFIG_FILE": os.devnull}
    status, events = run("--target", str(target), "--device", "cpu", **nothing_to_be_had)
    assert status == 1
    assert [event["name"] for event in events[:-1]] == ["create_environment", "install_torch"]
    assert events[-1]["code"] == "environment_missing"
    assert "torch==2.13.0+cpu" in events[-1]["message"]
    assert Path(events[-1]["detail_path"]).is_file()
    assert not (target / ".complete").exists()
    assert not (target / ".unfinished").exists()
    assert run("--target", str(target), "--remove")[0] == 0
    assert not target.exists()


@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGTERM")
def test_interrupted_install_says_so_and_starts_over_next_time(tmp_path: Path) -> None:
    target = tmp_path / "environment"
    command = [sys.executable, str(SCRIPT), "--target", str(target), "--device", "cpu", "--json"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert json.loads(process.stdout.readline())["name"] == "create_environment"
        while not (target / ".unfinished").exists():
            time.sleep(0.01)
        process.terminate()
        assert json.loads(process.stdout.readlines()[-1])["type"] == "cancelled"
    assert process.returncode == 130
    assert (target / ".unfinished").exists()
    assert not (target / ".complete").exists()


def test_foreign_folder_is_never_removed(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("years of work")
    for arguments in (["--remove"], ["--device", "cpu"]):
        status, events = run("--target", str(tmp_path), *arguments)
        assert status == 2
        assert "something else" in events[-1]["message"]
    assert (tmp_path / "thesis.txt").is_file()


def test_bad_python_is_wrong_use(tmp_path: Path) -> None:
    status, (error,) = run("--target", str(tmp_path / "e"), "--python", str(tmp_path / "nothing"))
    assert status == 2
    assert error["code"] == "option"
