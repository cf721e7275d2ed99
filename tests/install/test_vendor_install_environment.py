# SPDX-License-Identifier: GPL-3.0-or-later
"""The installed environment: made beside, put in place when whole, never half replaced."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from fault_server import Fault, FaultServer
from tiny_release import PAYLOAD_BYTES, TinyRelease, end_at_stage, wait_for

NOWHERE = "http://127.0.0.1:9"
"""Nobody listens there."""
REFUSED = {"http_proxy": NOWHERE, "https_proxy": NOWHERE, "ALL_PROXY": NOWHERE}


@pytest.fixture
def release(tmp_path: Path) -> TinyRelease:
    return TinyRelease.make(tmp_path / "release", NOWHERE)


def install(release: TinyRelease, target: Path, *more: str) -> tuple[int, list[dict]]:
    """From a wheelhouse, with pip, every connection refused."""
    wheelhouse = release.write_wheels(release.folder / "wheelhouse")
    options = ["--target", str(target), "--device", "cpu", "--tool", "pip"]
    return release.run(*options, "--wheelhouse", str(wheelhouse), *more, **REFUSED)


def says(target: Path) -> str:
    """What the installed console script prints; it names its interpreter by path."""
    script = target / ("Scripts/tiny.exe" if os.name == "nt" else "bin/tiny")
    return subprocess.check_output([str(script)], text=True).strip()


def test_a_wheelhouse_is_enough_and_the_next_release_takes_its_place(
    release: TinyRelease, tmp_path: Path
) -> None:
    target = tmp_path / "runtime with spaces ü"
    status, events = install(release, target)
    assert status == 0, events[-1]
    names = [event["name"] for event in events if event["type"] == "stage"]
    assert names == ["preflight", "download", "create_environment", "install", "verify", "replace"]
    assert events[-1]["report"]["verified"] == {"torch": "1.0+cpu"}
    assert says(target) == "tiny 1.0"
    assert install(release, target)[1][-1]["report"]["status"] == "complete"

    damaged = TinyRelease.make(release.folder, NOWHERE, version="2.0")
    damaged.wheels[damaged.payload_wheel] = b"not what the lock file says"
    status, events = install(damaged, target)
    assert (status, events[-1]["code"]) == (1, "download")
    assert damaged.payload_wheel in events[-1]["message"]
    assert says(target) == "tiny 1.0"

    sound = TinyRelease.make(release.folder, NOWHERE, version="2.0")
    status, events = install(sound, target, "--verify")
    assert (status, events[-1]["code"]) == (1, "verify"), "there is no package to convert with"
    assert says(target) == "tiny 1.0"

    assert install(sound, target)[0] == 0
    assert says(target) == "tiny 2.0"
    assert not target.with_name(f"{target.name}.work").exists()

    status, events = sound.run("--target", str(target), "--remove")
    assert status == 0 and events[-1]["report"]["freed_bytes"] > PAYLOAD_BYTES
    assert not target.exists()


def torch_of(environment: Path) -> Path:
    """The module that tells which build of PyTorch was installed."""
    return next(environment.rglob("torch/__init__.py"))


def test_an_environment_that_fails_its_verification_is_built_anew(
    release: TinyRelease, tmp_path: Path
) -> None:
    target, work = tmp_path / "runtime", tmp_path / "runtime.work" / "environment"
    assert install(release, target, "--verify")[0] == 1, "there is no package to convert with"
    assert work.is_dir() and not (work / ".complete").exists()
    torch_of(work).write_text("raise ImportError('rotten')")
    assert install(release, target)[0] == 0 and says(target) == "tiny 1.0"


def test_an_environment_in_place_that_fails_its_verification_is_complete_no_more(
    release: TinyRelease, tmp_path: Path
) -> None:
    target = tmp_path / "runtime"
    assert install(release, target)[0] == 0
    contents = (target / ".complete").read_bytes()

    def message_of_verify() -> str:
        status, events = install(release, target, "--verify")
        assert (status, events[-1]["code"]) == (1, "verify") and "anew" in events[-1]["hint"]
        planned = install(release, target, "--dry-run")[1][-1]["report"]
        assert planned["status"] == "planned" and not (target / ".complete").exists()
        return str(events[-1]["message"])

    torch_of(target).write_text("raise ImportError('rotten')")
    assert "rotten" in message_of_verify()
    if os.name != "nt":
        (target / ".complete").write_bytes(contents)
        python = target / "bin" / "python"
        python.unlink()
        python.write_bytes(b"\x7fELF, cut short")
        python.chmod(0o700)
        assert f"{python} does not run" in message_of_verify()


def is_claimed(target: Path) -> bool:
    """An installer, or what a killed one has started, is at work there."""
    import fcntl

    folder = target.with_name(f"{target.name}.work")
    if not folder.exists():
        return False
    with (folder / "lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals and locks")
def test_what_a_killed_installer_has_started_is_not_disturbed(
    release: TinyRelease, tmp_path: Path
) -> None:
    target, started = tmp_path / "runtime", tmp_path / "started"
    slow = tmp_path / "python"
    slow.write_text(
        f'#!/bin/sh\ncase "$*" in *venv*) echo $$ > "{started}"; exec sleep 600;; esac\n'
        f'exec "{sys.executable}" "$@"\n'
    )
    slow.chmod(0o700)
    wheelhouse = release.write_wheels(tmp_path / "wheelhouse")
    options = ["--target", str(target), "--device", "cpu", "--tool", "pip"]
    options += ["--wheelhouse", str(wheelhouse)]
    process = release.start(*options, "--python", str(slow), **REFUSED)
    wait_for(lambda: started.exists() and started.read_text())
    process.kill()
    status, events = release.run(*options, **REFUSED)
    assert (status, events[-1]["code"]) == (1, "busy")
    os.kill(int(started.read_text()), signal.SIGKILL)
    process.communicate(timeout=60)
    wait_for(lambda: not is_claimed(target))


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_at_any_stage_the_next_run_goes_on(release: TinyRelease, tmp_path: Path) -> None:
    target = tmp_path / "runtime"
    wheelhouse = release.write_wheels(tmp_path / "wheelhouse")
    options = ["--target", str(target), "--device", "cpu", "--tool", "pip"]
    options += ["--wheelhouse", str(wheelhouse)]
    for stage, number in (
        ("create_environment", signal.SIGTERM),
        ("install", signal.SIGKILL),
        ("replace", signal.SIGKILL),
    ):
        process = release.start(*options, **REFUSED)
        end_at_stage(process, stage, number)
        process.communicate(timeout=60)
        assert process.returncode in (130, -signal.SIGKILL, 0)
        assert not target.exists() or says(target) == "tiny 1.0"
        wait_for(lambda: not is_claimed(target))
    status, events = release.run(*options, **REFUSED)
    assert status == 0 and says(target) == "tiny 1.0"
    redone = [event["name"] for event in events if event["type"] == "stage"]
    assert "create_environment" not in redone, "it was whole before the last kill"


def test_what_one_killed_while_tidying_up_has_left_goes_with_the_next_run(
    release: TinyRelease, tmp_path: Path
) -> None:
    target, work = tmp_path / "runtime", tmp_path / "runtime.work"
    assert install(release, target)[0] == 0
    (work / "previous").mkdir(parents=True)
    (work / "previous" / "big.bin").write_bytes(b"an old environment")
    (work / "lock").touch()
    assert install(release, target)[1][-1]["report"]["status"] == "complete"
    assert not work.exists() and says(target) == "tiny 1.0"


def test_what_is_being_installed_is_not_removed(release: TinyRelease, tmp_path: Path) -> None:
    with FaultServer({f"/{name}": content for name, content in release.wheels.items()}) as server:
        release = TinyRelease.make(release.folder, server.url)
        server.faults[f"/{release.payload_wheel}"] = [Fault("stall")]
        options = ["--target", str(tmp_path / "runtime"), "--device", "cpu"]
        first = release.start(*options, "--timeout", "60")
        wait_for(lambda: server.gets(f"/{release.payload_wheel}"))
        status, events = release.run(*options, "--remove")
        kept = list((tmp_path / "runtime.work" / "wheels").iterdir())
        first.kill()
        first.communicate(timeout=30)
        assert (status, events[-1]["code"]) == (1, "busy") and kept
    assert release.run(*options, "--remove")[0] == 0
    assert not list(tmp_path.glob("runtime*"))
    assert release.run(*options, "--remove")[1][-1]["report"]["freed_bytes"] == 0


def test_an_environment_set_aside_by_a_dead_installer_comes_back(
    release: TinyRelease, tmp_path: Path
) -> None:
    target = tmp_path / "runtime"
    previous = tmp_path / "runtime.work" / "previous"
    previous.mkdir(parents=True)
    (previous / ".complete").write_text("{}")
    empty = tmp_path / "empty"
    empty.mkdir()
    options = ["--target", str(target), "--device", "cpu", "--wheelhouse", str(empty)]
    status, _ = release.run(*options)
    assert status == 1
    assert (target / ".complete").is_file() and not previous.exists()


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    with FaultServer({}) as server:
        release = TinyRelease.make(tmp_path / "release", server.url)
        server.files.update({f"/{name}": content for name, content in release.wheels.items()})
        server.faults[f"/{release.payload_wheel}"] = [Fault("stall")]
        options = ["--target", str(tmp_path / "runtime"), "--device", "cpu"]
        first = release.start(*options, "--timeout", "60")
        wait_for(lambda: server.gets(f"/{release.payload_wheel}"))
        status, events = release.run(*options)
        first.kill()
        first.communicate(timeout=30)
        assert (status, events[-1]["code"]) == (1, "busy")


def test_a_full_disk_leaves_no_environment_and_no_doubt(
    release: TinyRelease, tmp_path: Path, small_disk
) -> None:
    disk = small_disk(3_000_000)  # enough for the wheels, too little for an environment
    status, events = install(release, disk / "runtime")
    assert status in (1, 3)
    assert "space" in str(events[-1]) or "disk" in str(events[-1])
    assert not (disk / "runtime").exists()


def test_the_disk_is_looked_at_before_anything_is_downloaded(
    release: TinyRelease, small_disk
) -> None:
    disk = small_disk(PAYLOAD_BYTES)
    status, events = install(release, disk / "runtime")
    assert (status, events[-1]["code"]) == (3, "preflight")
    assert list(disk.iterdir()) == []
    assert "disk" in events[-1]["message"] and events[-1]["hint"]
    assert [event["name"] for event in events if event["type"] == "stage"] == ["preflight"]


def test_a_foreign_folder_is_neither_replaced_nor_removed(
    release: TinyRelease, tmp_path: Path
) -> None:
    target = tmp_path / "documents"
    target.mkdir()
    (target / "thesis.txt").write_text("years of work")
    for more in ((), ("--dry-run",), ("--remove",)):
        status, events = install(release, target, *more)
        assert (status, events[-1]["code"]) == (2, "option")
        assert "something else" in events[-1]["message"]
    assert (target / "thesis.txt").read_text() == "years of work"
    assert not list(tmp_path.glob("documents.*"))


@pytest.mark.skipif(os.name == "nt", reason="POSIX permissions")
def test_what_is_made_belongs_to_its_user_alone(release: TinyRelease, tmp_path: Path) -> None:
    process = release.start("--make-wheelhouse", str(tmp_path / "wheels"), "--device", "cpu")
    process.communicate(timeout=60)
    assert (tmp_path / "wheels").stat().st_mode & 0o077 == 0


def test_the_child_processes_see_no_secrets(tmp_path: Path) -> None:
    """The interpreter that --python names is asked for its version: it tells what it sees."""
    seen = tmp_path / "seen.txt"
    spy = tmp_path / "python"
    spy.write_text(f'#!/bin/sh\nenv > "{seen}"\nexec "{sys.executable}" "$@"\n')
    spy.chmod(0o700)
    if os.name == "nt":
        pytest.skip("a shell script stands in for the interpreter")
    release = TinyRelease.make(tmp_path / "release", NOWHERE)
    options = ["--target", str(tmp_path / "runtime"), "--device", "cpu", "--dry-run"]
    secrets = ("HF_TOKEN", "AWS_SECRET_ACCESS_KEY", "UV_PUBLISH_TOKEN", "UV_INDEX_A_PASSWORD")
    given = dict.fromkeys(secrets, "secret") | {"UV_NATIVE_TLS": "1"}
    release.run(*options, "--python", str(spy), **given)
    names = {line.split("=")[0] for line in seen.read_text().splitlines()}
    assert {"PATH", "UV_NATIVE_TLS"} <= names and not names & set(secrets)
