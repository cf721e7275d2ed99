# SPDX-License-Identifier: GPL-3.0-or-later
"""Whatever comes over the wire or lies in a folder: it is read, or refused with a clear error.

1,000 cases a decoder; `make fuzz` tries 100,000.
"""

from __future__ import annotations

import io
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from damage import damaged, fuzzed, write_anew
from hypothesis import given
from hypothesis import strategies as st

from one2345_blender.client.event_reader import read_events
from one2345_blender.client.job_state import JobState, advance
from one2345_blender.client.time_estimate import TYPICAL_STAGE_SECONDS, fraction_done
from one2345_blender.contracts.cameras import method_rig
from one2345_blender.contracts.errors import (
    One2345Error,
    OptionError,
    OutputError,
    PosedImagesError,
    ProtocolError,
)
from one2345_blender.contracts.job import JobSpec
from one2345_blender.contracts.mesh import ColoredMesh, load_npz, save_npz
from one2345_blender.contracts.messages import (
    COMMANDS,
    EVENTS,
    MAX_LINE_BYTES,
    TERMINAL_EVENTS,
    decode_line,
    encode_line,
)
from one2345_blender.contracts.preview_file import load_preview, save_preview
from one2345_blender.contracts.transforms_json import read_transforms, write_transforms

JOB = {
    "job_id": "j",
    "image_path": "/photos/cup.png",
    "output_dir": "/out",
    "preset": "embedded",
    "seed": 7,
    "device": "cpu",
    "elevation_deg": 20.0,
    "grid_resolution": 96,
}
EVENT_EXAMPLES = [
    {"type": "hello", "protocol": 1, "pid": 1, "versions": {"torch": "2"}},
    {"type": "accepted", "job_id": "j"},
    {"type": "stage", "job_id": "j", "name": "sdf", "index": 7, "count": 10},
    {"type": "progress", "job_id": "j", "stage": "sdf", "step": 1, "steps": 2},
    {"type": "preview", "job_id": "j", "name": "a", "path": "/out/a.npy"},
    {"type": "warning", "job_id": "j", "code": "c", "message": "m"},
    {"type": "result", "job_id": "j", "files": {"mesh_npz": "/out/mesh.npz"}, "report": {}},
    {"type": "error", "job_id": "j", "code": "c", "message": "m", "hint": "", "detail_path": None},
]


def as_line(document: object) -> bytes:
    """JSON as a careless peer writes it, NaN and lone surrogates included."""
    return json.dumps(document).encode() + b"\n"


def assert_can_be_told(error: One2345Error) -> None:
    """The error fits on the wire."""
    event = {"type": "error", "job_id": None, "code": error.code, "message": error.message}
    assert len(encode_line({**event, "hint": error.hint, "detail_path": None})) < 20_000


@fuzzed
@given(st.data())
def test_commands(data: st.DataObject) -> None:
    command = data.draw(damaged({"type": "run", "job": JOB}))
    try:
        message = decode_line(as_line(command), COMMANDS)
        if message is not None and message["type"] == "run":
            job = JobSpec.from_dict(message["job"])
            assert JobSpec.from_dict(job.to_dict()) == job
            encode_line(job.to_dict())
    except (ProtocolError, OptionError) as error:
        assert_can_be_told(error)


@fuzzed
@given(st.data())
def test_events(data: st.DataObject) -> None:
    """What the reader lets through, the state of a job can take, and a panel can draw."""
    sent = [
        data.draw(damaged(data.draw(st.sampled_from(EVENT_EXAMPLES))))
        for _ in range(data.draw(st.integers(1, 4)))
    ]
    state = JobState(job_id="j")
    for event in read_events(io.BytesIO(b"".join(map(as_line, sent)))):
        if isinstance(event, ProtocolError):
            assert_can_be_told(event)
        elif event["type"] != "hello":
            state = advance(state, event)
            assert 0.0 <= fraction_done(state, TYPICAL_STAGE_SECONDS) <= 1.0
            assert isinstance(str(state.failure), str)
            assert event["type"] not in TERMINAL_EVENTS or state.is_final or event["job_id"] != "j"


@fuzzed
@given(st.binary(max_size=300), st.sampled_from([COMMANDS, EVENTS]))
def test_garbage(line: bytes, known: dict[str, tuple[str, ...]]) -> None:
    try:
        message = decode_line(line, known)
    except ProtocolError:
        return
    assert message is None or message["type"] in known


def test_lines_of_a_hundred_megabytes_are_cut_and_the_next_one_is_read() -> None:
    long = b'{"type":"accepted","job_id":"' + b"x" * 100_000_000 + b'"}\n'
    arrivals = list(read_events(io.BytesIO(long + as_line(EVENT_EXAMPLES[1]))))
    assert isinstance(arrivals[0], ProtocolError)
    assert arrivals[-1] == EVENT_EXAMPLES[1]
    assert len(arrivals) < 2 + 2 * len(long) / MAX_LINE_BYTES


@pytest.fixture
def posed_folder(tmp_path: Path) -> Path:
    """Two views; beside them links that lead out and round in a circle."""
    from one2345_blender.contracts.cameras import Viewpoint

    viewpoints = [
        Viewpoint(name=name, azimuth_deg=azimuth, elevation_deg=0.0)
        for name, azimuth in (("a", 0.0), ("b", 90.0))
    ]
    rig = method_rig(viewpoints, 64)
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(b"picture")
    if os.name != "nt":
        (tmp_path / "loop").symlink_to("loop")
        (tmp_path / "link").symlink_to("/etc/passwd")
    write_transforms(tmp_path, ["a.png", "b.png"], rig, rig.c2w[0])
    return tmp_path


@pytest.fixture
def posed_document(posed_folder: Path) -> Any:
    return json.loads((posed_folder / "transforms.json").read_bytes())


@fuzzed
@given(st.data())
def test_transforms_json(posed_folder: Path, posed_document: Any, data: st.DataObject) -> None:
    write_anew(posed_folder / "transforms.json", as_line(data.draw(damaged(posed_document))))
    try:
        read = read_transforms(posed_folder)
        assert np.isfinite(read.cameras.c2w).all() and np.isfinite(read.cameras.K).all()
        assert np.isfinite(read.reference_c2w).all() and np.isfinite(read.cameras.near_far).all()
        assert all(p.is_relative_to(posed_folder.resolve()) for p in read.image_paths)
    except PosedImagesError as error:
        assert_can_be_told(error)


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
@pytest.mark.parametrize("name", ["link", "loop", "../outside.png", "/etc/passwd", "a.png\0", "."])
def test_a_picture_outside_the_folder_is_refused(posed_folder: Path, name: str) -> None:
    (posed_folder.parent / "outside.png").write_bytes(b"picture")
    path = posed_folder / "transforms.json"
    document = json.loads(path.read_text())
    document["frames"][1]["file_path"] = name
    path.write_text(json.dumps(document))
    with pytest.raises(PosedImagesError, match=r"file_path|picture"):
        read_transforms(posed_folder)


def test_an_endless_transforms_json_is_refused_unread(posed_folder: Path) -> None:
    with (posed_folder / "transforms.json").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(PosedImagesError, match="bytes"):
        read_transforms(posed_folder)


@pytest.mark.skipif(os.name == "nt", reason="symbolic links, devices")
def test_a_transforms_json_that_leads_to_a_device_is_refused(posed_folder: Path) -> None:
    """Its size is 0, and it has no end."""
    (posed_folder / "transforms.json").unlink()
    (posed_folder / "transforms.json").symlink_to("/dev/zero")
    with pytest.raises(PosedImagesError, match="no plain file"):
        read_transforms(posed_folder)


def npz(arrays: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", compression) as archive:
        for name, content in arrays.items():
            archive.writestr(f"{name}.npy", content)
    return stream.getvalue()


def npy(shape: tuple[int, ...], descr: str = "<f4", content: bytes = b"") -> bytes:
    stream = io.BytesIO()
    header = {"descr": descr, "fortran_order": False, "shape": shape}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.getvalue() + content


def mesh_file() -> bytes:
    stream = io.BytesIO()
    mesh = ColoredMesh(
        vertices=np.eye(3, dtype=np.float32),
        faces=np.array([[0, 1, 2]], dtype=np.int32),
        vertex_colors=np.full((3, 4), 200, dtype=np.uint8),
    )
    save_npz(mesh, stream)
    return stream.getvalue()


MESH_FILE = mesh_file()


def damaged_file(data: st.DataObject, whole: bytes) -> bytes:
    content = bytearray(whole)
    for _ in range(data.draw(st.integers(0, 6))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    return bytes(content[: data.draw(st.integers(0, len(content)))])


@fuzzed
@given(st.data())
def test_mesh_files(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "mesh.npz"
    write_anew(path, damaged_file(data, MESH_FILE))
    try:
        mesh = load_npz(path)
        assert np.isfinite(mesh.vertices).all() and mesh.faces.max() < len(mesh.vertices)
    except OutputError as error:
        assert_can_be_told(error)


VIEW = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)


def test_a_view_comes_as_it_was_sent(tmp_path: Path) -> None:
    with (tmp_path / "0.npy").open("wb") as file:
        save_preview(VIEW, file)
    np.testing.assert_array_equal(load_preview(tmp_path / "0.npy"), VIEW)


@fuzzed
@given(st.data())
def test_views(tmp_path: Path, data: st.DataObject) -> None:
    path = tmp_path / "0.npy"
    write_anew(path, damaged_file(data, npy(VIEW.shape, "|u1", VIEW.tobytes())))
    try:
        rgb = load_preview(path)
        assert rgb.dtype == np.uint8 and rgb.shape[2:] == (3,) and rgb.size > 0
    except OutputError as error:
        assert_can_be_told(error)


@pytest.mark.parametrize(
    "content",
    [
        npy((10**9, 10**3, 3), "|u1"),
        npy((2, 4, 3), "|O", b"x" * 192),
        npy((2, 4, 3), "<f4", bytes(96)),
        npy((8, 3), "|u1", bytes(24)),
        npz({"rgb": npy(VIEW.shape, "|u1", VIEW.tobytes())}),
    ],
    ids=["terabytes", "objects", "floats", "flat", "archive"],
)
def test_a_view_that_is_none_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0.npy").write_bytes(content)
    with pytest.raises(OutputError):
        load_preview(tmp_path / "0.npy")


@pytest.mark.parametrize(
    "vertices",
    [
        npy((10**13, 3)),
        npy((10**9, 3)),
        npy((3, 3), "<U4", b"x" * 144),
        npy((3, 3), "|O", b"x" * 72),
        npy((3, 3), "<c16", b"\0" * 144),
        npy((3, 3), "<f4", np.full(9, np.nan, "<f4").tobytes()),
    ],
    ids=["petabytes", "gigabytes", "texts", "objects", "complex", "nan"],
)
def test_a_mesh_file_with_a_lying_header(tmp_path: Path, vertices: bytes) -> None:
    faces = npy((1, 3), "<i4", np.array([0, 1, 2], "<i4").tobytes())
    colors = npy((3, 4), "|u1", bytes(12))
    path = tmp_path / "mesh.npz"
    path.write_bytes(npz({"vertices": vertices, "faces": faces, "vertex_colors": colors}))
    with pytest.raises(OutputError):
        load_npz(path)


def test_a_mesh_file_that_is_a_bomb_is_not_unpacked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("one2345_blender.contracts.mesh.MAX_UNPACKED_BYTES", 10_000_000)
    bomb = npy((10**6, 3), "<f4", bytes(12_000_000))
    path = tmp_path / "mesh.npz"
    path.write_bytes(npz({"vertices": bomb}, zipfile.ZIP_DEFLATED))
    with pytest.raises(OutputError, match="bytes"):
        load_npz(path)
