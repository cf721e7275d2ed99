# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights from a hub that misbehaves: a real server on loopback stands for it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fault_server import MISHAPS, Fault, FaultServer

pytest.importorskip("huggingface_hub")

from huggingface_hub import constants

from one2345_blender.contracts.errors import (
    CheckpointError,
    DownloadError,
    OfflineError,
    OptionError,
    OutputError,
)
from one2345_blender.contracts.messages import EVENTS, TERMINAL_EVENTS, decode_line
from one2345_blender.installation.download import (
    cost,
    download,
    downloads_folder,
    make_preset,
    remove,
)
from one2345_blender.installation.hub import Hub
from one2345_blender.installation.published_weights import PUBLISHED, needed_files
from one2345_blender.installation.weights_record import WEIGHTS_JSON, read_records

ROOT = Path(__file__).resolve().parents[2]
PRESET = "zero123-xl"
BLOCK_BYTES = 100_000
LARGE_BYTES = 4 * BLOCK_BYTES
COMMIT = "0123456789abcdef0123456789abcdef01234567"


def hub_files() -> dict[str, dict[str, bytes]]:
    """Repository -> path -> content: the published files in small."""
    dice = random.Random(7)
    diffusers, reconstruction = PUBLISHED[PRESET]
    parts = {
        "model_index.json": b"{}",
        "scheduler/scheduler_config.json": b'{"beta": 1}',
        "README.md": b"---\nlicense: mit\n---\n",
        "unet/diffusion_pytorch_model.bin": b"a pickle that nobody needs",
    }
    for folder, name in (
        ("unet", "diffusion_pytorch_model.fp16_ema"),
        ("vae", "diffusion_pytorch_model.fp16"),
        ("image_encoder", "model"),
        ("clip_camera_projection", "diffusion_pytorch_model"),
    ):
        parts[f"{folder}/config.json"] = json.dumps({"folder": folder}).encode()
        size = LARGE_BYTES if folder == "unet" else 1000
        parts[f"{folder}/{name}.safetensors"] = dice.randbytes(size)
    checkpoint = "SparseNeuS_demo_v1/exp/lod0/checkpoints/ckpt_215000.pth"
    return {diffusers.repo_id: parts, reconstruction.repo_id: {checkpoint: dice.randbytes(1000)}}


LARGE = "unet/diffusion_pytorch_model.fp16_ema.safetensors"
REPO = PUBLISHED[PRESET][0].repo_id
LARGE_URL = f"/{REPO}/resolve/{COMMIT}/{LARGE}"


def serve(server: FaultServer, repositories: dict[str, dict[str, bytes]]) -> None:
    """What the hub's own addresses answer."""
    for source in PUBLISHED[PRESET]:
        siblings: list[dict[str, Any]] = []
        for path, content in repositories[source.repo_id].items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(content)}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if not path.endswith((".json", ".md")):
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 1}
            siblings.append(entry)
            server.files[f"/{source.repo_id}/resolve/{COMMIT}/{path}"] = content
        info = {"id": source.repo_id, "sha": COMMIT, "siblings": siblings}
        info["cardData"] = {"license": "mit"}
        address = f"/api/models/{source.repo_id}/revision/{source.revision}?blobs=true"
        server.files[address] = json.dumps(info).encode()


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    monkeypatch.setenv("ONE2345_PRESETS", str(tmp_path / "presets"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", BLOCK_BYTES)
    with FaultServer({}) as server:
        serve(server, hub_files())
        yield server


def fetch(server: FaultServer, given: Path | None = None) -> tuple[Any, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    result = download(PRESET, hub=Hub(server.url), emit=events.append, given=given)
    return result, events


def assert_whole(result: Any) -> None:
    published = hub_files()
    for name, path in result.files.items():
        repo = next(repo for repo in published if name.startswith(repo))
        assert Path(path).read_bytes() == published[repo][name.removeprefix(f"{repo}/")]
    assert len(result.files) == 11


def test_the_files_come_whole_with_their_licences_and_are_not_fetched_twice(
    hub_server: FaultServer,
) -> None:
    result, events = fetch(hub_server)
    assert_whole(result)
    steps = [event["step"] for event in events if event["type"] == "progress"]
    assert steps == sorted(steps) and steps[-1] == result.report["size_bytes"]
    folder = downloads_folder(PRESET)
    assert "Open RAIL-M" in (folder / "LICENCES.txt").read_text()
    records = read_records(folder)
    assert records is not None and {record.commit for record in records} == {COMMIT}
    assert all(file.sha256 for record in records for file in record.files)
    asked = len(hub_server.requests)
    assert_whole(fetch(hub_server)[0])
    assert len(hub_server.requests) == asked
    freed = remove(PRESET).report["freed_bytes"]
    assert freed > LARGE_BYTES and not folder.exists()


@pytest.mark.parametrize("fault", MISHAPS, ids=str)
def test_one_mishap_is_survived(hub_server: FaultServer, fault: Fault) -> None:
    hub_server.faults[LARGE_URL] = [fault]
    assert_whole(fetch(hub_server)[0])
    ranges = hub_server.gets(LARGE_URL)
    assert len(ranges) >= 2
    if fault.kind == "cut" and fault.at > 0.4:
        assert ranges[-1].startswith("bytes=") and ranges[-1] != "bytes=0-"


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (Fault("corrupt"), CheckpointError),
        (Fault("status", code=500), DownloadError),
        (Fault("html"), DownloadError),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)
def test_lasting_trouble_is_one_clear_error_and_no_file(
    hub_server: FaultServer, fault: Fault, error: type[Exception]
) -> None:
    hub_server.faults[LARGE_URL] = [fault] * 40
    with pytest.raises(error) as caught:
        fetch(hub_server)
    assert caught.value.hint  # type: ignore[attr-defined]
    assert not list(downloads_folder(PRESET).rglob("*.fp16_ema.safetensors"))
    hub_server.faults.clear()
    assert_whole(fetch(hub_server)[0])


def test_a_later_run_goes_on_where_the_first_was_ended(hub_server: FaultServer) -> None:
    hub_server.faults[LARGE_URL] = [Fault("cut"), *[Fault("status", code=500)] * 40]
    with pytest.raises(DownloadError, match="500"):
        fetch(hub_server)
    (part,) = downloads_folder(PRESET).rglob("*.part")
    kept = part.stat().st_size
    assert kept == LARGE_BYTES // 2
    hub_server.faults.clear()
    assert_whole(fetch(hub_server)[0])
    assert hub_server.gets(LARGE_URL)[-1] == f"bytes={kept}-"


def test_what_the_first_download_learnt_is_enforced(hub_server: FaultServer) -> None:
    fetch(hub_server)
    changed = hub_files()
    changed[REPO][LARGE] = changed[REPO][LARGE][::-1]
    serve(hub_server, changed)
    next(downloads_folder(PRESET).rglob("*.fp16_ema.safetensors")).unlink()
    with pytest.raises(CheckpointError, match="sha256"):
        fetch(hub_server)


def test_a_damaged_file_is_found_and_replaced(hub_server: FaultServer) -> None:
    result, _ = fetch(hub_server)
    path = Path(result.files[f"{REPO}/{LARGE}"])
    content = bytearray(path.read_bytes())
    content[1000] ^= 1
    path.write_bytes(content)
    assert_whole(fetch(hub_server)[0])


def test_a_folder_from_another_machine_is_enough_without_a_network(
    hub_server: FaultServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch(hub_server)
    carried = downloads_folder(PRESET).rename(tmp_path / "carried over")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    asked = len(hub_server.requests)
    assert_whole(fetch(hub_server, given=carried)[0])
    assert len(hub_server.requests) == asked
    (carried / WEIGHTS_JSON).unlink()
    remove(PRESET)
    with pytest.raises(OfflineError) as caught:
        fetch(hub_server, given=carried)
    assert "Allow Online Access" in caught.value.hint


def test_a_full_disk_is_found_before_or_while_it_fills(
    hub_server: FaultServer,
    small_disk: Callable[[int], Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    disk = small_disk(LARGE_BYTES // 2)
    monkeypatch.setenv("ONE2345_PRESETS", str(disk / "presets"))
    with pytest.raises(OutputError, match="free"):
        fetch(hub_server)


def test_the_cost_is_told_before_and_is_what_comes(hub_server: FaultServer) -> None:
    report = cost(PRESET, hub=Hub(hub_server.url)).report
    assert "Open RAIL-M" in report["licences"] and report["free_bytes"] > 0
    assert not hub_server.gets(LARGE_URL) and not downloads_folder(PRESET).exists()
    assert fetch(hub_server)[0].report["size_bytes"] == report["download_bytes"]
    assert cost(PRESET, hub=Hub("http://127.0.0.1:9")).report["download_bytes"] == 0


def test_a_second_download_is_refused_while_the_first_lives(hub_server: FaultServer) -> None:
    lock = downloads_folder(PRESET) / "lock"
    lock.parent.mkdir(parents=True)
    code = "import filelock, sys; lock = filelock.FileLock(sys.argv[1]); lock.acquire();"
    command = [sys.executable, "-c", f"{code} print(flush=True); sys.stdin.read()", str(lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None and other.stdout.readline()
        with pytest.raises(OutputError, match="Another download"):
            fetch(hub_server)
        other.kill()
        other.wait()
        assert_whole(fetch(hub_server)[0])


def test_a_record_cannot_lead_out_of_its_folder(hub_server: FaultServer, tmp_path: Path) -> None:
    folder = downloads_folder(PRESET)
    folder.mkdir(parents=True)
    for path in ("../evil", "/etc/passwd", "a/../../b", "C:\\evil", ""):
        file = {"path": path, "size_bytes": 1, "sha256": "0" * 64}
        source = {"repo_id": REPO, "commit": COMMIT, "licence": "", "files": [file]}
        (folder / WEIGHTS_JSON).write_text(json.dumps({"sources": [source]}))
        with pytest.raises(CheckpointError, match="damaged"):
            fetch(hub_server)


def test_averaged_weights_are_preferred_to_others() -> None:
    source = PUBLISHED[PRESET][0]
    names = list(hub_files()[REPO])
    more = [*names, "unet/diffusion_pytorch_model.safetensors"]
    assert needed_files(source, more) == needed_files(source, names)
    with pytest.raises(CheckpointError, match="vae/config"):
        needed_files(source, [name for name in names if not name.startswith("vae")])


def test_nothing_is_published_for_the_embedded_preset() -> None:
    with pytest.raises(OptionError, match="embedded"):
        downloads_folder("embedded")


def test_the_command_speaks_the_protocol_and_shows_licences_first(
    hub_server: FaultServer, tmp_path: Path
) -> None:
    def run(*arguments: str) -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            [sys.executable, "-m", "one2345_blender", "download", PRESET, *arguments],
            cwd=ROOT,
            capture_output=True,
            env={
                **os.environ,
                "HF_ENDPOINT": hub_server.url,
                "HF_HOME": str(tmp_path / "hf"),
                "HF_TOKEN": "hf_secret",
            },
            timeout=300,
            check=False,
        )

    shown = run()
    assert shown.returncode == 2 and b"Open RAIL-M" in shown.stderr
    assert not hub_server.requests
    done = run("--accept-licences", "--events", "--files-only")
    events = [decode_line(line, EVENTS) for line in done.stdout.splitlines()]
    assert done.returncode == 0, done.stderr
    assert [event["type"] in TERMINAL_EVENTS for event in events if event].count(True) == 1
    assert events[-1] is not None and events[-1]["type"] == "result"
    assert events[-1]["job_id"] == "download" and len(events[-1]["files"]) == 11
    assert hub_server.authorizations == {"Bearer hf_secret"}
    assert b"hf_secret" not in done.stdout + done.stderr
    if os.name != "nt":
        folder = downloads_folder(PRESET)
        assert not any(path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*")))


@pytest.mark.parametrize("fault", [Fault("status", code=500), Fault("html")], ids=str)
def test_a_password_of_the_endpoint_is_never_told(hub_server: FaultServer, fault: Fault) -> None:
    hub = Hub(hub_server.url.replace("//", "//user:secret@"))
    hub_server.faults[LARGE_URL] = [fault] * 40
    with pytest.raises(DownloadError) as caught:
        download(PRESET, hub=hub, emit=lambda event: None)
    assert "127.0.0.1" in caught.value.message and "secret" not in str(caught.value)


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
    made = make_preset(PRESET, result, events.append)
    assert [event["name"] for event in events] == ["import"]
    pipeline = ModelCache().get(PRESET, "cpu")
    assert pipeline.unet.config.cross_attention_dim == 16
    assert remove(PRESET).report["freed_bytes"] > 0
    assert not Path(made.files["preset"]).exists()


def test_files_that_are_no_networks_leave_no_preset(hub_server: FaultServer) -> None:
    result, _ = fetch(hub_server)
    with pytest.raises(CheckpointError):
        make_preset(PRESET, result, lambda event: None)
    assert not (downloads_folder(PRESET).parent / PRESET).exists()
