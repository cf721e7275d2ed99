# SPDX-License-Identifier: GPL-3.0-or-later
"""Which interpreter runs the worker, and what it inherits."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest

from one2345_blender.client.environment import WorkerLaunch, find_worker_python, worker_launch
from one2345_blender.client.installation_commands import installer_launch, weights_launch
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


@pytest.mark.skipif(sys.platform == "win32", reason="symbolic links")
def test_a_runtime_whose_python_is_gone_is_to_be_installed_again(tmp_path: Path) -> None:
    """It is a link to Blender's own, which has been replaced by another version, say."""
    runtime = tmp_path / "runtime"
    (runtime / "bin").mkdir(parents=True)
    (runtime / ".complete").touch()
    (runtime / "bin" / "python").symlink_to(tmp_path / "blender-4.5" / "python3.11")
    with pytest.raises(EnvironmentMissingError, match="moved, updated") as caught:
        find_worker_python(preferred="", environ={}, runtime_dir=runtime)
    assert "Install Runtime" in caught.value.hint


COMMON = {
    "PATH": "/bin",
    "LC_ALL": "C.UTF-8",
    "TMPDIR": "/tmp",
    "CUDA_VISIBLE_DEVICES": "0",
    "OMP_NUM_THREADS": "2",
    "ONE2345_PRESETS": "/presets",
    "SystemRoot": "C:/Windows",
}
NETWORK = {"https_proxy": "http://proxy:3128", "SSL_CERT_FILE": "/ca.pem"}
PACKAGES = {"PIP_INDEX_URL": "https://user:pw@mirror/simple", "UV_NATIVE_TLS": "1"}
HUB = {"HF_TOKEN": "hf_x", "HF_ENDPOINT": "https://mirror", "HF_HOME": "/hf"}
NOBODYS = {
    "PYTHONHOME": "/blender/python",
    "PYTHONSTARTUP": "/x",
    "__PYVENV_LAUNCHER__": "/x",
    "LD_PRELOAD": "/x.so",
    "DYLD_INSERT_LIBRARIES": "/x.dylib",
    "aws_secret_access_key": "x",
    "AZURE_STORAGE_KEY": "x",
    "GITHUB_PAT": "x",
    "DATABASE_URL": "postgres://user:pw@host/db",
    "NVIDIA_API_KEY": "x",
    "UV_PUBLISH_TOKEN": "x",
    "UV_INDEX_MINE_PASSWORD": "x",
    "SSH_AUTH_SOCK": "/x",
}


@pytest.mark.parametrize(
    ("launch", "wanted"),
    [
        (worker_launch, COMMON),
        (installer_launch, COMMON | NETWORK | PACKAGES),
        (partial(weights_launch, is_online=True), COMMON | NETWORK | HUB),
    ],
    ids=["worker", "installer", "download"],
)
def test_each_child_sees_what_it_needs_and_no_more(
    launch: Callable[..., WorkerLaunch], wanted: dict[str, str]
) -> None:
    environ = COMMON | NETWORK | PACKAGES | HUB | NOBODYS
    env = dict(launch(Path(sys.executable), environ).env)
    ours = {name: env.pop(name, "") for name in ("PYTHONPATH", "PYTHONSAFEPATH", "HF_HUB_OFFLINE")}
    assert env == wanted
    assert ours["PYTHONPATH"] and (ours["HF_HUB_OFFLINE"] == "1") == (launch is worker_launch)


def test_the_worker_imports_this_copy_of_the_package(tmp_path: Path) -> None:
    launch = worker_launch(Path(sys.executable), os.environ | {"PYTHONPATH": "/blender/scripts"})
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
