# SPDX-License-Identifier: GPL-3.0-or-later
"""Weights from a hub that misbehaves: a real server on loopback stands for it."""

from __future__ import annotations

import io
import json
import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest
from fault_server import MISHAPS, Fault, FaultServer

pytest.importorskip("huggingface_hub")

from huggingface_hub import constants
from small_hub import (
    COMMIT,
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
from tiny_release import wait_for

from one2345_blender.contracts.errors import (
    CheckpointError,
    DownloadError,
    OfflineError,
    OptionError,
)
from one2345_blender.contracts.messages import EVENTS, TERMINAL_EVENTS, decode_line
from one2345_blender.installation.download import (
    download,
    downloads_folder,
    remove,
)
from one2345_blender.installation.hub import LIBRARY_LOGGER, Hub
from one2345_blender.installation.published_weights import PUBLISHED, needed_files
from one2345_blender.installation.weights_record import WEIGHTS_JSON, read_records

ROOT = Path(__file__).resolve().parents[2]


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
    assert {path for _, path, _ in hub_server.requests} <= hub_server.files.keys()
    assert_whole(fetch(hub_server)[0])
    assert len(hub_server.requests) == asked
    freed = remove(PRESET).report["freed_bytes"]
    assert freed > LARGE_BYTES and not folder.exists()
    assert not list(folder.parent.glob(f"{PRESET}*"))


@pytest.mark.parametrize("fault", MISHAPS, ids=str)
def test_one_mishap_is_survived(hub_server: FaultServer, fault: Fault) -> None:
    hub_server.faults[LARGE_URL] = [fault]
    assert_whole(fetch(hub_server)[0])
    ranges = hub_server.gets(LARGE_URL)
    assert len(ranges) >= 2 or fault.kind == "too_long"  # of which the first bytes are the file
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


def test_a_record_cannot_lead_out_of_its_folder(hub_server: FaultServer, tmp_path: Path) -> None:
    folder = downloads_folder(PRESET)
    folder.mkdir(parents=True)
    for path in ("../evil", "/etc/passwd", "a/../../b", "C:\\evil", ""):
        file = {"path": path, "size_bytes": 1, "sha256": "0" * 64}
        source = {"repo_id": REPO, "commit": COMMIT, "licence": "", "files": [file]}
        (folder / WEIGHTS_JSON).write_text(json.dumps({"sources": [source]}))
        with pytest.raises(CheckpointError, match="damaged"):
            fetch(hub_server)


def test_a_record_of_another_commit_or_without_files_is_not_believed(
    hub_server: FaultServer, tmp_path: Path
) -> None:
    fetch(hub_server)
    carried = downloads_folder(PRESET).rename(tmp_path / "carried over")
    whole = json.loads((carried / WEIGHTS_JSON).read_text())
    for change in ({"commit": "f" * 40}, {"commit": "f" * 40, "files": []}, {"files": []}):
        changed = {"sources": [{**whole["sources"][0], **change}, whole["sources"][1]]}
        (carried / WEIGHTS_JSON).write_text(json.dumps(changed))
        with pytest.raises(CheckpointError) as caught:
            fetch(hub_server, given=carried)
        assert str(carried) in caught.value.message and WEIGHTS_JSON in caught.value.hint
        expected = COMMIT if "commit" in change else "model_index.json"
        assert expected in caught.value.message
    assert not (downloads_folder(PRESET) / WEIGHTS_JSON).exists()


def test_a_hub_that_answers_for_another_commit_is_not_believed(hub_server: FaultServer) -> None:
    for address, content in list(hub_server.files.items()):
        if address.startswith("/api/"):
            hub_server.files[address] = content.replace(COMMIT.encode(), b"f" * 40)
    hub_server.files = {
        address.replace(f"revision/{'f' * 40}", f"revision/{COMMIT}"): content
        for address, content in hub_server.files.items()
    }
    with pytest.raises(CheckpointError, match=COMMIT):
        fetch(hub_server)


def test_an_endless_answer_is_cut_off(hub_server: FaultServer) -> None:
    """Of a file of 1,000 bytes."""
    small_url = next(url for url in hub_server.files if url.endswith("model.fp16.safetensors"))
    hub_server.faults[small_url] = [Fault("endless")]
    assert_whole(fetch(hub_server)[0])
    remove(PRESET)
    hub_server.faults[small_url] = [Fault("endless")] * 9
    with pytest.raises(DownloadError, match=r"Expected 1000 bytes .*, more came"):
        fetch(hub_server)
    assert hub_server.endless_bytes < 60_000_000


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


def start(hub_server: FaultServer, tmp_path: Path, *arguments: str) -> subprocess.Popen[bytes]:
    """The command as a process."""
    return subprocess.Popen(
        [sys.executable, "-m", "one2345_blender", "download", PRESET, *arguments],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={
            **os.environ,
            "HF_ENDPOINT": hub_server.url,
            "HF_HOME": str(tmp_path / "hf"),
            "HF_TOKEN": "hf_secret",
            "HF_HUB_DOWNLOAD_TIMEOUT": "2",
        },
    )


def test_the_command_speaks_the_protocol_and_shows_licences_first(
    hub_server: FaultServer, tmp_path: Path
) -> None:
    asked = start(hub_server, tmp_path)
    assert b"Open RAIL-M" in asked.communicate(timeout=300)[1] and asked.returncode == 2
    assert not hub_server.requests
    done = start(hub_server, tmp_path, "--accept-licences", "--events", "--files-only")
    stdout, stderr = done.communicate(timeout=300)
    events = [decode_line(line, EVENTS) for line in stdout.splitlines()]
    assert done.returncode == 0, stderr
    assert [event["type"] in TERMINAL_EVENTS for event in events if event].count(True) == 1
    assert events[-1] is not None and events[-1]["type"] == "result"
    assert events[-1]["job_id"] == "download" and len(events[-1]["files"]) == 11
    assert hub_server.authorizations == {"Bearer hf_secret"}
    assert b"hf_secret" not in stdout + stderr
    if os.name != "nt":
        folder = downloads_folder(PRESET)
        assert not any(path.stat().st_mode & 0o077 for path in (folder, *folder.rglob("*")))


def test_one_whose_listener_was_killed_ends(hub_server: FaultServer, tmp_path: Path) -> None:
    hub_server.faults[LARGE_URL] = [Fault("stall")]
    process = start(hub_server, tmp_path, "--accept-licences", "--events", "--files-only")
    wait_for(lambda: list(downloads_folder(PRESET).rglob("*.safetensors.part")))
    assert process.stdout is not None and process.stderr is not None
    process.stdout.close()
    assert process.wait(60) == 130
    assert process.stderr.read().splitlines()[-1] == b"cancelled"
    process.stderr.close()
    assert list(downloads_folder(PRESET).rglob("*.safetensors.part")), "the next one goes on"


@pytest.mark.parametrize("fault", [Fault("status", code=500), Fault("html")], ids=str)
def test_a_password_of_the_endpoint_is_never_told(hub_server: FaultServer, fault: Fault) -> None:
    hub = Hub(hub_server.url.replace("//", "//user:secret@"))
    hub_server.faults[LARGE_URL] = [fault] * 40
    with pytest.raises(DownloadError) as caught:
        download(PRESET, hub=hub, emit=lambda event: None)
    assert "127.0.0.1" in caught.value.message and "secret" not in str(caught.value)


def test_nor_by_the_hubs_library_when_it_tries_again(
    hub_server: FaultServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    (handler,) = logging.getLogger(LIBRARY_LOGGER).handlers
    assert isinstance(handler, logging.StreamHandler)
    told = io.StringIO()
    monkeypatch.setattr(handler, "stream", told)
    hub_server.faults[LARGE_URL] = [Fault("cut"), Fault("stall"), Fault("status", code=429)]
    hub = Hub(hub_server.url.replace("//", "//user:secret@"))
    assert_whole(download(PRESET, hub=hub, emit=lambda event: None))
    assert told.getvalue().count("resume download") == 2 and "429" in told.getvalue()
    assert "127.0.0.1" in told.getvalue() and "secret" not in told.getvalue()
