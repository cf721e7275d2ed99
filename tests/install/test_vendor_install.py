# SPDX-License-Identifier: GPL-3.0-or-later
"""The installer's plan: the right lock file for the machine, and what it will cost."""

from __future__ import annotations

import errno
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from tiny_release import PAYLOAD_BYTES, TinyRelease, lock_name

from one2345_blender.contracts.messages import EVENTS, decode_line

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
has_lock = vendor_install.lock_path("cpu", f"{sys.version_info[0]}.{sys.version_info[1]}").is_file()
needs_lock = pytest.mark.skipif(not has_lock, reason="no lock file for this machine")


def run(*arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
    """Exit status and events."""
    finished = subprocess.run(
        [sys.executable, str(SCRIPT), *arguments, "--json"],
        capture_output=True,
        env=os.environ | environment,
        timeout=120,
        check=False,
    )
    lines = [decode_line(line, EVENTS) for line in finished.stdout.splitlines()]
    return finished.returncode, [event for event in lines if event]


@needs_lock
def test_dry_run_says_what_it_would_cost_and_writes_nothing(tmp_path: Path) -> None:
    target = tmp_path / "environment with spaces ü"
    status, (result,) = run("--target", str(target), "--device", "cpu", "--dry-run")
    report = result["report"]
    assert status == 0 and report["status"] == "planned"
    assert report["device"] == "cpu" and "torch==2.13.0" in report["requirements"]
    assert 1e8 < report["download_bytes"] < report["needed_bytes"]
    names = {finding["name"] for finding in report["preflight"]}
    assert {"python", "device", "disk", "memory", "write permission", "network"} <= names
    assert list(tmp_path.iterdir()) == []


@needs_lock
def test_a_complete_environment_is_left_alone(tmp_path: Path) -> None:
    arguments = ["--target", str(tmp_path), "--extras", "pipeline", "--device", "cpu"]
    _, (planned,) = run(*arguments, "--dry-run")
    python = Path(planned["files"]["python"])
    python.parent.mkdir()
    python.touch()
    report = planned["report"]
    contents = {key: report[key] for key in ("python", "device", "requirements", "lock")}
    (tmp_path / ".complete").write_text(json.dumps(contents))
    status, (result,) = run(*arguments)
    assert status == 0 and result["report"]["status"] == "complete"
    (tmp_path / ".complete").write_text(json.dumps({**contents, "lock": "an older one"}))
    assert run(*arguments, "--dry-run")[1][0]["report"]["status"] == "planned"


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for NVIDIA's tool")
@pytest.mark.parametrize(
    ("answer", "build", "status"),
    [
        ("NVIDIA GeForce RTX 4090, 580.65.06", "cuda", "ok"),
        ("NVIDIA GeForce GTX 1080, 535.183", "cpu", "warning"),
        ("No devices were found", "cpu", "ok"),
    ],
)
def test_the_build_fits_the_driver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, build: str, status: str
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho '{answer}'\n")
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    assert vendor_install.torch_build("auto") == build
    plan = vendor_install.Plan(
        target=tmp_path,
        python=sys.executable,
        python_version="3.11",
        device=build,
        lock=None,
        requirements=(),
        unlocked=(),
    )
    assert vendor_install._device_finding(plan).status == status


@pytest.mark.parametrize(
    "arguments",
    [
        ["--python", "/nowhere/python"],
        ["--device", "cuda" if sys.platform == "darwin" else "mps"],
        ["--extras", "everything"],
        ["--wheelhouse", "/tmp", "--extras", "dev"],
        ["--make-wheelhouse", "/tmp/wheels"],
        ["--timeout", "-1"],
        ["--timeout", "nan"],
        ["--retries", "-1"],
        ["--wheelhouse", "~no-such-user/wheels"],
        [],
    ],
    ids=" ".join,
)
def test_wrong_use_has_the_status_2(tmp_path: Path, arguments: list[str]) -> None:
    target = ["--target", str(tmp_path / "e")] if arguments else []
    status, events = run(*target, *arguments)
    assert status == 2
    assert all(event["code"] == "option" and event["hint"] for event in events)
    assert list(tmp_path.iterdir()) == []


def test_a_size_that_nobody_told_is_said_and_reckoned_with(tmp_path: Path) -> None:
    def dry_run(are_sizes_known: bool) -> tuple[dict[str, Any], str]:
        release = TinyRelease.make(
            tmp_path / "release", "http://127.0.0.1:9", are_sizes_known=are_sizes_known
        )
        options = ["--target", str(tmp_path / "runtime"), "--device", "cpu", "--dry-run"]
        status, events = release.run(*options)
        assert status == 0
        report = events[-1]["report"]
        found = {finding["name"]: finding["found"] for finding in report["preflight"]}
        return report, found["packages"]

    known, unknown = dry_run(True), dry_run(False)
    assert "not known" not in known[1]
    assert "size not known of tiny, torch: 0 MB are reckoned with" in unknown[1]
    for size in ("download_bytes", "needed_bytes"):
        assert unknown[0][size] == known[0][size] > PAYLOAD_BYTES


def test_what_is_there_already_needs_no_room(tmp_path: Path) -> None:
    release = TinyRelease.make(tmp_path / "release", "http://127.0.0.1:9")
    options = ["--target", str(tmp_path / "runtime"), "--device", "cpu", "--dry-run"]

    def needed_bytes(*more: str) -> int:
        size: int = release.run(*options, *more)[1][-1]["report"]["needed_bytes"]
        return size

    total = sum(map(len, release.wheels.values()))
    installed = 3 * total + int(3 * total * vendor_install.COMPILED_SHARE)
    assert needed_bytes() == total + installed
    assert needed_bytes("--wheelhouse", str(tmp_path)) == installed
    wheels = tmp_path / "runtime.work" / "wheels"
    wheels.mkdir(parents=True)
    (wheels / f"{release.payload_wheel}.part").write_bytes(bytes(1000))
    (wheels / "of-an-older-release.whl").write_bytes(bytes(5000))
    (tmp_path / "runtime.work" / "environment").mkdir()
    (tmp_path / "runtime.work" / "environment" / "half.bin").write_bytes(bytes(300))
    assert needed_bytes() == total + installed - 1300


def test_uv_and_its_python_are_reckoned_with_where_they_are_fetched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wheel = vendor_install.Wheel(
        name="uv", url="https://x/uv.whl", sha256="", size_bytes=1000, max_bytes=1000
    )
    lock = vendor_install.Lock(
        name="", digest="", wheels=(), uv=wheel, estimated_bytes=0, installed_bytes=100
    )

    def download_bytes(*, python: str | None, takes_uv: bool) -> int:
        plan = vendor_install.Plan(
            target=tmp_path / "runtime",
            python=python,
            python_version="3.11",
            device="cpu",
            lock=lock,
            requirements=(),
            unlocked=(),
            takes_uv=takes_uv,
        )
        assert vendor_install.needed_bytes(plan, None) == plan.download_bytes + plan.installed_bytes
        return int(plan.download_bytes)

    python_bytes = vendor_install.MANAGED_PYTHON_BYTES[0]
    monkeypatch.setenv("PATH", str(tmp_path))
    assert download_bytes(python=sys.executable, takes_uv=False) == 0
    assert download_bytes(python=sys.executable, takes_uv=True) == 1000
    assert download_bytes(python=None, takes_uv=True) == 1000 + python_bytes
    program = tmp_path / ("uv.exe" if os.name == "nt" else "uv")
    program.touch(mode=0o700)
    assert download_bytes(python=sys.executable, takes_uv=True) == 0


def test_a_wheelhouse_says_what_it_would_cost(tmp_path: Path) -> None:
    release = TinyRelease.make(tmp_path / "release", "http://127.0.0.1:9")
    options = ["--make-wheelhouse", str(tmp_path / "wheels"), "--device", "cpu", "--dry-run"]
    status, events = release.run(*options)
    report, total = events[-1]["report"], sum(map(len, release.wheels.values()))
    assert status == 0 and report["status"] == "planned"
    assert report["download_bytes"] == report["needed_bytes"] == total
    assert {"disk", "write permission"} <= {finding["name"] for finding in report["preflight"]}
    assert not list(tmp_path.glob("wheels*"))


def test_a_python_that_no_wheelhouse_holds_is_told_beforehand(tmp_path: Path) -> None:
    release = TinyRelease.make(tmp_path / "release", "http://127.0.0.1:9")
    lock = release.folder / "locks" / lock_name()
    lock.rename(lock.with_name(re.sub(r"py3\d+", "py399", lock.name)))
    options = ["--target", str(tmp_path / "runtime"), "--device", "cpu", "--dry-run"]

    def python_finding(*more: str) -> dict[str, str]:
        report = release.run(*options, *more)[1][-1]["report"]
        return next(finding for finding in report["preflight"] if finding["name"] == "python")

    assert python_finding()["status"] == "ok" and "brought by uv" in python_finding()["found"]
    offline = python_finding("--wheelhouse", str(tmp_path))
    assert offline["status"] == "warning" and "--python" in offline["hint"]


def test_a_platform_without_a_lock_is_told_at_once(tmp_path: Path) -> None:
    release = TinyRelease.make(tmp_path / "release", "http://127.0.0.1:9")
    lock = release.folder / "locks" / lock_name()
    lock.rename(lock.with_name("pylock.plan9-mips-cpu-py311.toml"))
    status, events = release.run("--target", str(tmp_path / "runtime"), "--device", "cpu")
    assert (status, events[-1]["code"]) == (3, "preflight")
    assert "only for plan9-mips (cpu)" in events[-1]["message"]
    assert "Python of your own" in events[-1]["hint"]
    assert not list(tmp_path.glob("runtime*"))


@pytest.mark.skipif(os.name == "nt", reason="Windows deletes no open file")
def test_a_lock_that_was_deleted_before_it_was_taken_keeps_nobody_out_and_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when one installer tidies up between the moments when the next opens and takes it."""
    work = vendor_install.Workplace.of(tmp_path / "runtime")
    take, times = vendor_install.is_lock_taken, iter([1])

    def take_late(descriptor: int) -> bool:
        if next(times, None):
            shutil.rmtree(work.folder)
        return bool(take(descriptor))

    monkeypatch.setattr(vendor_install, "is_lock_taken", take_late)
    monkeypatch.setattr(vendor_install, "LOCK_PATIENCE_S", 1.0)
    with work.claimed():
        assert (work.folder / "lock").is_file()
        with pytest.raises(vendor_install.InstallError, match="running"), work.claimed():
            pass
    assert not work.folder.exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX locks")
def test_a_disk_that_knows_no_locks_is_not_taken_for_a_second_installer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(descriptor: int, operation: int) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr("fcntl.flock", flock)
    work = vendor_install.Workplace.of(tmp_path / "runtime")
    with pytest.raises(OSError, match="lock"), work.claimed():
        pass


def test_a_lock_file_cannot_lead_out_of_the_folder(tmp_path: Path) -> None:
    entry = '{url = "https://x/..%2F..%2Fevil.whl", hashes = {sha256 = "0"}}'
    lock = tmp_path / "pylock.toml"
    lock.write_text(
        f'[[packages]]\nname = "a"\nversion = "1"\nwheels = [{entry}]\n[tool.one2345]\n'
    )
    with pytest.raises(vendor_install.InstallError, match="no name of a wheel"):
        vendor_install.read_lock(lock)
