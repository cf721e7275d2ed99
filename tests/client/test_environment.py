# SPDX-License-Identifier: GPL-3.0-or-later
"""Which interpreter runs the worker, and what it inherits."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from one2345_blender.client.environment import find_worker_python, worker_launch
from one2345_blender.contracts.errors import EnvironmentMissingError

RUNTIME_PYTHON = "Scripts/python.exe" if sys.platform == "win32" else "bin/python"


@pytest.fixture
def pythons(tmp_path: Path) -> dict[str, Path]:
    paths = {name: tmp_path / name / RUNTIME_PYTHON for name in ("preferred", "named", "runtime")}
    for path in paths.values():
        path.parent.mkdir(parents=True)
        path.touch()
    (tmp_path / "runtime" / ".complete").touch()
    return paths


def test_preference_then_variable_then_runtime(pythons: dict[str, Path], tmp_path: Path) -> None:
    preferred, named = str(pythons["preferred"]), {"ONE2345_PYTHON": str(pythons["named"])}
    runtime_dir = tmp_path / "runtime"

    def find(preferred: str, environ: dict[str, str]) -> Path:
        return find_worker_python(preferred=preferred, environ=environ, runtime_dir=runtime_dir)

    assert find(preferred, named) == pythons["preferred"]
    assert find("", named) == pythons["named"]
    assert find("", {}) == pythons["runtime"]


def test_a_named_interpreter_that_is_missing_is_not_passed_over(
    pythons: dict[str, Path], tmp_path: Path
) -> None:
    missing = str(tmp_path / "missing")
    for preferred, environ, named_by in (
        (missing, {}, "preferences"),
        ("", {"ONE2345_PYTHON": missing}, "ONE2345_PYTHON"),
    ):
        with pytest.raises(EnvironmentMissingError, match=named_by):
            find_worker_python(
                preferred=preferred, environ=environ, runtime_dir=tmp_path / "runtime"
            )


@pytest.mark.parametrize("runtime", [None, "nowhere", "preferred"], ids=str)
def test_no_interpreter_says_what_to_do(
    runtime: str | None, pythons: dict[str, Path], tmp_path: Path
) -> None:
    runtime_dir = tmp_path / runtime if runtime else None  # "preferred" is not marked complete
    with pytest.raises(EnvironmentMissingError) as caught:
        find_worker_python(preferred="", environ={}, runtime_dir=runtime_dir)
    assert "ONE2345_PYTHON" in caught.value.hint and "Preferences" in caught.value.hint


def test_what_steers_python_and_secrets_are_not_inherited(tmp_path: Path) -> None:
    environ = {
        "PATH": "/bin",
        "PYTHONHOME": "/blender/python",
        "PYTHONPATH": "/blender/scripts",
        "PYTHONSTARTUP": "/x",
        "HF_TOKEN": "hf_x",
        "aws_secret_access_key": "x",
    }
    launch = worker_launch(Path(sys.executable), environ)
    assert launch.env["PATH"] == "/bin"
    assert launch.env["HF_HUB_OFFLINE"] == "1"
    assert not (environ.keys() - {"PATH", "PYTHONPATH"}) & launch.env.keys()
    code = "import one2345_blender, sys; sys.stdout.write(one2345_blender.__file__)"
    found = subprocess.run(
        [sys.executable, "-s", "-c", code],
        env=dict(launch.env),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        text=True,
    )
    assert Path(found.stdout).parts[-2:] == ("one2345_blender", "__init__.py")
