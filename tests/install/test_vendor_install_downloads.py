# SPDX-License-Identifier: GPL-3.0-or-later
"""The installer's downloads, from a server that misbehaves: resumed, checked, never half there."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fault_server import MISHAPS, Fault, FaultServer
from tiny_release import PAYLOAD_BYTES, TinyRelease, wait_for


@pytest.fixture
def server() -> Iterator[FaultServer]:
    with FaultServer({}) as server:
        yield server


@pytest.fixture
def release(server: FaultServer, tmp_path: Path) -> TinyRelease:
    release = TinyRelease.make(tmp_path / "release", server.url)
    server.files.update({f"/{name}": content for name, content in release.wheels.items()})
    return release


def fetch(release: TinyRelease, folder: Path, **environment: str) -> tuple[int, dict]:
    status, events = release.run(
        "--make-wheelhouse", str(folder), "--device", "cpu", "--tool", "pip", **environment
    )
    return status, events[-1]


def is_whole(release: TinyRelease, folder: Path) -> bool:
    return {p.name: p.read_bytes() for p in folder.iterdir()} == release.wheels


def test_what_is_there_is_not_fetched_again(
    release: TinyRelease, server: FaultServer, tmp_path: Path
) -> None:
    status, result = fetch(release, tmp_path / "wheels")
    assert status == 0 and is_whole(release, tmp_path / "wheels")
    assert result["report"]["bytes"] == sum(map(len, release.wheels.values()))
    asked = len(server.requests)
    assert fetch(release, tmp_path / "wheels")[0] == 0
    assert len(server.requests) == asked


@pytest.mark.parametrize("fault", MISHAPS, ids=str)
def test_one_mishap_is_survived(
    release: TinyRelease, server: FaultServer, tmp_path: Path, fault: Fault
) -> None:
    path = f"/{release.payload_wheel}"
    server.faults[path] = [fault]
    assert fetch(release, tmp_path / "wheels")[0] == 0
    assert is_whole(release, tmp_path / "wheels")
    first, second = server.gets(path)
    assert first == ""
    if fault.kind in ("cut", "stall"):
        assert second == f"bytes={int(len(release.wheels[path[1:]]) * fault.at)}-"


def test_a_server_that_cannot_resume_sends_all_again(
    release: TinyRelease, server: FaultServer, tmp_path: Path
) -> None:
    server.faults[f"/{release.payload_wheel}"] = [Fault("cut"), Fault("no_range")]
    assert fetch(release, tmp_path / "wheels")[0] == 0
    assert is_whole(release, tmp_path / "wheels")


def test_a_file_of_unknown_size_is_resumed_and_checked_too(
    server: FaultServer, tmp_path: Path
) -> None:
    release = TinyRelease.make(tmp_path / "release", server.url, are_sizes_known=False)
    server.files.update({f"/{name}": content for name, content in release.wheels.items()})
    path = f"/{release.payload_wheel}"
    server.faults[path] = [Fault("stall"), Fault("too_short")]
    assert fetch(release, tmp_path / "wheels")[0] == 0
    assert is_whole(release, tmp_path / "wheels")
    assert server.gets(path)[1] == f"bytes={len(release.wheels[path[1:]]) // 2}-"
    whole = tmp_path / "wheels" / release.payload_wheel
    whole.rename(whole.with_name(f"{whole.name}.part"))  # killed before it had its name
    asked = len(server.requests)
    assert fetch(release, tmp_path / "wheels")[0] == 0
    assert is_whole(release, tmp_path / "wheels") and len(server.requests) == asked


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (Fault("corrupt"), "SHA-256"),
        (Fault("html"), "web page"),
        (Fault("status", code=403), "403"),
        (Fault("stall", at=0.0), "timed out"),
    ],
    ids=lambda value: getattr(value, "kind", value),
)
def test_lasting_trouble_is_one_clear_error(
    release: TinyRelease, server: FaultServer, tmp_path: Path, fault: Fault, said: str
) -> None:
    server.faults[f"/{release.payload_wheel}"] = [fault] * 9
    status, error = fetch(release, tmp_path / "wheels")
    assert (status, error["code"]) == (1, "download")
    assert said in error["message"] and "run the same again" in error["hint"]
    assert not (tmp_path / "wheels" / release.payload_wheel).exists()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL], ids=lambda n: n.name)
def test_an_ended_download_goes_on_where_it_was(
    release: TinyRelease, server: FaultServer, tmp_path: Path, number: signal.Signals
) -> None:
    folder, path = tmp_path / "wheels", f"/{release.payload_wheel}"
    server.faults[path] = [Fault("stall")]
    part = folder / f"{release.payload_wheel}.part"
    process = release.start("--make-wheelhouse", str(folder), "--device", "cpu", "--timeout", "60")
    wait_for(lambda: part.exists() and part.stat().st_size > PAYLOAD_BYTES // 3)
    process.send_signal(number)
    stdout, _ = process.communicate(timeout=10)
    if number is signal.SIGTERM:
        assert process.returncode == 130 and b'"cancelled"' in stdout.splitlines()[-1]
    kept = part.stat().st_size
    assert fetch(release, folder)[0] == 0
    assert is_whole(release, folder)
    assert server.gets(path)[-1] == f"bytes={kept}-"


@pytest.mark.parametrize("dated_s", [0, 4_102_444_800], ids=["1970", "2100"])
def test_what_another_clock_has_dated_is_neither_stale_nor_in_the_way(
    release: TinyRelease, server: FaultServer, tmp_path: Path, dated_s: int
) -> None:
    folder, path = tmp_path / "wheels", f"/{release.payload_wheel}"
    server.faults[path] = [Fault("cut"), Fault("status", code=403)]
    assert fetch(release, folder)[0] == 1
    of_a_dead_process = tmp_path / "wheels.work" / "lock"
    of_a_dead_process.parent.mkdir()
    of_a_dead_process.touch()
    for file in (folder, *folder.iterdir(), of_a_dead_process.parent, of_a_dead_process):
        os.utime(file, (dated_s, dated_s))
    assert fetch(release, folder)[0] == 0 and is_whole(release, folder)
    assert server.gets(path)[-1] == f"bytes={len(release.wheels[path[1:]]) // 2}-"


def test_an_installer_whose_listener_was_killed_ends(
    release: TinyRelease, server: FaultServer, tmp_path: Path
) -> None:
    folder, path = tmp_path / "wheels", f"/{release.payload_wheel}"
    server.faults[path] = [Fault("stall")]
    part = folder / f"{release.payload_wheel}.part"
    process = release.start("--make-wheelhouse", str(folder), "--device", "cpu")
    wait_for(lambda: part.exists() and part.stat().st_size > PAYLOAD_BYTES // 3)
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == 130
    assert process.stderr.read() == b"" and not (folder / release.payload_wheel).exists()
    process.stderr.close()
    assert len(server.gets(path)) == 2, "it stopped at the first bytes that came after"


def test_a_mirror_with_a_password_is_used_and_its_password_never_told(
    release: TinyRelease, server: FaultServer, tmp_path: Path
) -> None:
    for name in list(release.wheels):
        content = server.files.pop(f"/{name}")
        server.files[f"/files/{name}"] = content
        page = f'<a href="../../files/{name}#sha256=0">{name}</a>'.encode()
        server.files[f"/simple/{name.split('-')[0]}/"] = page
    index = f"{server.url}/simple".replace("//", "//user:secret@")
    status, _ = fetch(release, tmp_path / "wheels", PIP_INDEX_URL=index)
    assert status == 0 and is_whole(release, tmp_path / "wheels")
    server.files.clear()
    status, events = release.run(
        "--make-wheelhouse", str(tmp_path / "other"), "--device", "cpu", PIP_INDEX_URL=index
    )
    assert status == 1 and "secret" not in str(events)


def test_a_password_does_not_follow_to_another_server(
    release: TinyRelease, server: FaultServer, tmp_path: Path
) -> None:
    with FaultServer({}) as elsewhere:
        for name in list(release.wheels):
            elsewhere.files[f"/{name}"] = server.files.pop(f"/{name}")
            page = f'<a href="../../files/{name}#sha256=0">{name}</a>'.encode()
            server.files[f"/simple/{name.split('-')[0]}/"] = page
            server.redirects[f"/files/{name}"] = f"{elsewhere.url}/{name}"
        index = f"{server.url}/simple".replace("//", "//user:secret@")
        assert fetch(release, tmp_path / "wheels", PIP_INDEX_URL=index)[0] == 0
        assert is_whole(release, tmp_path / "wheels")
        assert any(sent.startswith("Basic ") for sent in server.authorizations)
        assert elsewhere.authorizations == {""}


@pytest.mark.parametrize("are_sizes_known", [True, False], ids=["known", "unknown"])
def test_an_endless_answer_is_cut_off(
    server: FaultServer, tmp_path: Path, are_sizes_known: bool
) -> None:
    release = TinyRelease.make(tmp_path / "release", server.url, are_sizes_known=are_sizes_known)
    server.files.update({f"/{name}": content for name, content in release.wheels.items()})
    server.faults[f"/{release.payload_wheel}"] = [Fault("endless")]
    assert fetch(release, tmp_path / "wheels")[0] == 0
    assert is_whole(release, tmp_path / "wheels")
    assert server.endless_bytes < 30_000_000


@pytest.mark.parametrize("index", ["mirror.local/simple", "http://[", "http://127.0.0.1:no/"])
def test_a_mirror_whose_address_is_none_is_passed_over(
    release: TinyRelease, tmp_path: Path, index: str
) -> None:
    assert fetch(release, tmp_path / "wheels", PIP_INDEX_URL=index)[0] == 0
    assert is_whole(release, tmp_path / "wheels")


def test_links_of_a_mirror_that_are_none_are_passed_over(
    release: TinyRelease, server: FaultServer, tmp_path: Path
) -> None:
    for name in release.wheels:
        server.files[f"/simple/{name.split('-')[0]}/"] = (
            b'<a href="http://[/' + name.encode() + b'">'
        )
    assert fetch(release, tmp_path / "wheels", PIP_INDEX_URL=f"{server.url}/simple")[0] == 0
    assert is_whole(release, tmp_path / "wheels")


def test_a_wheelhouse_is_made_by_one_at_a_time(
    release: TinyRelease, server: FaultServer, tmp_path: Path
) -> None:
    folder, path = tmp_path / "wheels", f"/{release.payload_wheel}"
    server.faults[path] = [Fault("stall")]
    first = release.start("--make-wheelhouse", str(folder), "--device", "cpu", "--timeout", "60")
    wait_for(lambda: server.gets(path))
    status, error = fetch(release, folder)
    first.kill()
    first.communicate(timeout=30)
    assert (status, error["code"]) == (1, "busy")
    assert fetch(release, folder)[0] == 0 and is_whole(release, folder)
    assert not (tmp_path / "wheels.work").exists()


def test_a_wheelhouse_without_room_is_refused_before_anything_is_downloaded(
    release: TinyRelease, server: FaultServer, small_disk: Callable[[int], Path]
) -> None:
    disk = small_disk(PAYLOAD_BYTES // 2)
    status, error = fetch(release, disk / "wheels")
    assert (status, error["code"]) == (3, "preflight") and "disk" in error["message"]
    assert not server.requests and list(disk.iterdir()) == []


def test_a_disk_that_fills_up_is_an_error_and_not_a_network_problem(
    server: FaultServer, tmp_path: Path, small_disk: Callable[[int], Path]
) -> None:
    """Nobody told how large the wheels are, and they are larger than was reckoned with."""
    release = TinyRelease.make(
        tmp_path / "release", server.url, are_sizes_known=False, estimated_bytes=0
    )
    server.files.update({f"/{name}": content for name, content in release.wheels.items()})
    disk = small_disk(PAYLOAD_BYTES // 2)
    status, error = fetch(release, disk / "wheels")
    assert (status, error["code"]) == (1, "output") and "space" in error["message"]
    assert len(server.gets(f"/{release.payload_wheel}")) == 1
    assert not (disk / "wheels" / release.payload_wheel).exists()
