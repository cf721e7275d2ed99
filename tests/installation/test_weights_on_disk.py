# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights on the disk: room, locks, what killed ones leave, the preset made of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from fault_server import Fault, FaultServer

pytest.importorskip("huggingface_hub")

from small_hub import (
    LARGE,
    LARGE_BYTES,
    LARGE_URL,
    PRESET,
    REPO,
    assert_whole,
    fetch,
    hub_files,
    serve,
)

from one2345_blender.contracts.errors import (
    CheckpointError,
    DownloadError,
    OutputError,
)
from one2345_blender.installation.download import (
    cost,
    download,
    downloads_folder,
    make_preset,
    remove,
)
from one2345_blender.installation.hub import Hub
from one2345_blender.installation.published_weights import PUBLISHED

ROOT = Path(__file__).resolve().parents[2]


def test_a_disk_that_is_too_small_is_found_before(
    hub_server: FaultServer,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = small_disk(LARGE_BYTES // 2)
    monkeypatch.setenv("ONE2345_PRESETS", str(disk / "presets"))
    with pytest.raises(OutputError, match="free"):
        fetch(hub_server)


def test_a_disk_that_something_else_fills_meanwhile_is_one_clear_error(
    hub_server: FaultServer,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = small_disk(3 * LARGE_BYTES)
    monkeypatch.setenv("ONE2345_PRESETS", str(disk / "presets"))

    def fill(event: dict[str, Any]) -> None:
        if event["type"] == "progress" and not (disk / "others").exists():
            with (disk / "others").open("wb", buffering=0) as file, suppress(OSError):
                while file.write(bytes(4096)):
                    pass

    with pytest.raises(OutputError, match="No space") as caught:
        download(PRESET, hub=Hub(hub_server.url), emit=fill)
    assert "Free some space" in caught.value.hint
    assert len(hub_server.gets(LARGE_URL)) <= 1 and not list(disk.rglob("*.safetensors"))
    (disk / "others").unlink()
    assert_whole(fetch(hub_server)[0])


def test_what_another_name_keeps_on_the_disk_is_not_freed(
    hub_server: FaultServer, tmp_path: Path
) -> None:
    """The cache that all programs share has them too, and keeps them."""
    result, _ = fetch(hub_server)
    cached = tmp_path / "cached"
    cached.hardlink_to(result.files[f"{REPO}/{LARGE}"])
    assert 0 < remove(PRESET).report["freed_bytes"] < LARGE_BYTES
    assert cached.stat().st_size == LARGE_BYTES


def test_room_for_the_preset_is_looked_for_before_hours_of_download(
    hub_server: FaultServer,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = small_disk(LARGE_BYTES * 3 // 2)
    monkeypatch.setenv("ONE2345_PRESETS", str(disk / "presets"))
    with pytest.raises(OutputError, match="free"):
        download(PRESET, hub=Hub(hub_server.url), emit=lambda event: None, makes_preset=True)
    assert not hub_server.gets(LARGE_URL)
    assert_whole(fetch(hub_server)[0])


def test_what_killed_ones_have_left_goes_with_the_next(hub_server: FaultServer) -> None:
    folder = downloads_folder(PRESET)
    unfinished = folder / REPO.replace("/", "--") / "vae" / ".config.json.123.part"
    unfinished.parent.mkdir(parents=True)
    unfinished.write_bytes(bytes(1000))
    assert_whole(fetch(hub_server)[0])
    assert not unfinished.exists()
    for name in (f"{PRESET}.part", f"{PRESET}.deleted"):
        (folder.parent / name).mkdir()
        (folder.parent / name / "half.safetensors").write_bytes(bytes(1000))
    assert remove(PRESET).report["freed_bytes"] > LARGE_BYTES + 2000
    assert list(folder.parent.iterdir()) == []


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_a_preset_is_removed_at_once_or_not_at_all(tmp_path: Path) -> None:
    """Killed when the first of its files is about to go, it is not half there under its name."""
    presets = tmp_path / "presets"
    (presets / PRESET / "unet").mkdir(parents=True)
    for name in ("model_index.json", "unet/config.json"):
        (presets / PRESET / name).write_text("{}")
    killed = (
        "import os, signal, sys\n"
        "from one2345_blender.installation.download import remove\n"
        "die = lambda event, _: event == 'os.remove' and os.kill(os.getpid(), signal.SIGKILL)\n"
        f"sys.addaudithook(die)\nremove({PRESET!r})"
    )
    environment = {**os.environ, "ONE2345_PRESETS": str(presets)}
    finished = subprocess.run(
        [sys.executable, "-c", killed], cwd=ROOT, env=environment, check=False
    )
    assert finished.returncode == -signal.SIGKILL
    assert not (presets / PRESET).exists() and list(presets.rglob("model_index.json"))


def test_the_cost_is_told_before_and_is_what_comes(hub_server: FaultServer) -> None:
    report = cost(PRESET, hub=Hub(hub_server.url)).report
    assert "Open RAIL-M" in report["licences"] and report["free_bytes"] > 0
    assert not hub_server.gets(LARGE_URL) and not downloads_folder(PRESET).exists()
    assert fetch(hub_server)[0].report["size_bytes"] == report["download_bytes"]
    assert cost(PRESET, hub=Hub("http://127.0.0.1:9")).report["download_bytes"] == 0


@pytest.mark.parametrize("dated_s", [0, 4_102_444_800], ids=["1970", "2100"])
def test_what_another_clock_has_dated_is_neither_stale_nor_in_the_way(
    hub_server: FaultServer, dated_s: int
) -> None:
    hub_server.faults[LARGE_URL] = [Fault("cut"), *[Fault("status", code=500)] * 40]
    with pytest.raises(DownloadError, match="500"):
        fetch(hub_server)
    presets = downloads_folder(PRESET).parent
    (presets / f"{PRESET}.lock").touch()  # of a dead process
    for path in presets.rglob("*"):
        os.utime(path, (dated_s, dated_s))
    hub_server.faults.clear()
    assert_whole(fetch(hub_server)[0])
    assert hub_server.gets(LARGE_URL)[-1] == f"bytes={LARGE_BYTES // 2}-"


def test_a_second_download_is_refused_while_the_first_lives(hub_server: FaultServer) -> None:
    lock = downloads_folder(PRESET).with_name(f"{PRESET}.lock")
    lock.parent.mkdir(parents=True)
    code = "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire();"
    command = [sys.executable, "-c", f"{code} print(flush=True); sys.stdin.read()", str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        for what in (lambda: fetch(hub_server), lambda: remove(PRESET)):
            with pytest.raises(OutputError, match="Another download"):
                what()
        other.kill()
        other.wait()
        assert_whole(fetch(hub_server)[0])


def test_the_files_become_a_preset(hub_server: FaultServer, tiny_preset: Path) -> None:
    """Networks in small, in the layouts in which the real ones are published."""
    from one2345_blender.pipeline.model_cache import ModelCache

    published = hub_files()
    for path in list(published[REPO]):
        if "/" in path:
            del published[REPO][path]
    for folder in ("unet", "vae", "image_encoder", "clip_camera_projection", "scheduler"):
        for path in (tiny_preset / folder).iterdir():
            published[REPO][f"{folder}/{path.name}"] = path.read_bytes()
    checkpoints = published[PUBLISHED[PRESET][1].repo_id]
    (name,) = checkpoints
    golden = ROOT / "tests" / "golden" / "original_reconstruction_seed0.pth"
    checkpoints[name] = golden.read_bytes()
    serve(hub_server, published)
    result, _ = fetch(hub_server)
    events: list[dict[str, Any]] = []
    of_an_older_release = downloads_folder(PRESET).parent / PRESET / "old.json"
    of_an_older_release.parent.mkdir()
    of_an_older_release.touch()
    made = make_preset(PRESET, result, events.append)
    assert [event["name"] for event in events] == ["import"]
    assert not of_an_older_release.exists()
    assert not list(of_an_older_release.parents[1].glob("*.deleted"))
    pipeline = ModelCache().get(PRESET, "cpu")
    assert pipeline.unet.config.cross_attention_dim == 16
    assert remove(PRESET).report["freed_bytes"] > 0
    assert not Path(made.files["preset"]).exists()


def test_files_that_are_no_networks_leave_the_preset_as_it_was(hub_server: FaultServer) -> None:
    result, _ = fetch(hub_server)
    working = downloads_folder(PRESET).parent / PRESET
    working.mkdir()
    (working / "model_index.json").write_text("{}")
    with pytest.raises(CheckpointError):
        make_preset(PRESET, result, lambda event: None)
    assert [path.name for path in working.iterdir()] == ["model_index.json"]
    assert not list(working.parent.glob(f"{PRESET}.part"))
