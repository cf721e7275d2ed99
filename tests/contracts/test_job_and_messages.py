# SPDX-License-Identifier: GPL-3.0-or-later
"""Job options, the wire's lines, mesh files and atomic writes."""

import json
import math
import os
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from one2345_blender.contracts.errors import OptionError, OutputError, ProtocolError
from one2345_blender.contracts.job import JobSpec
from one2345_blender.contracts.job_folder import (
    atomic_write,
    folder_within,
    prepare_output_dir,
    write_traceback,
)
from one2345_blender.contracts.mesh import ColoredMesh, load_npz, save_npz
from one2345_blender.contracts.messages import COMMANDS, EVENTS, decode_line, encode_line


def spec(**options):
    return JobSpec(job_id="j", image_path=Path("/a b/ü.png"), output_dir=Path("/out"), **options)


def test_job_round_trip_through_json():
    job = spec(seed=7, sampler="fast", elevation_deg=-12.5, grid_resolution=96, preset="zero123-xl")
    assert JobSpec.from_dict(json.loads(json.dumps(job.to_dict()))) == job


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("seed", -1),
        ("seed", 2**31),
        ("seed", 1.5),
        ("seed", True),
        ("device", "gpu"),
        ("sampler", "ddim"),
        ("elevation_deg", 91.0),
        ("elevation_deg", math.nan),
        ("elevation_deg", "high"),
        ("grid_resolution", 4),
        ("steps_scale", 0.0),
        ("memory_limit_gb", 0.0),
        ("guidance_scale", math.inf),
        ("num_inference_steps_stage1", 0),
        ("preset", ""),
    ],
)
def test_options_out_of_range_are_named(option, value):
    with pytest.raises(OptionError, match=option):
        spec(**{option: value})


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.pop("image_path"),
        lambda d: d.update(surprise=1),
        lambda d: d.update(output_dir=3),
        lambda d: d.update(preset=None),
    ],
)
def test_job_from_a_wrong_dict(edit):
    values = spec().to_dict()
    edit(values)
    with pytest.raises(OptionError):
        JobSpec.from_dict(values)


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda children: st.lists(children) | st.dictionaries(st.text(), children),
    max_leaves=10,
)


@given(json_values)
def test_messages_survive_the_wire(value):
    message = {"type": "accepted", "job_id": value}
    line = encode_line(message)
    assert line.count(b"\n") == 1 and line.endswith(b"\n")
    assert decode_line(line, EVENTS) == message


@given(st.binary(max_size=200))
def test_garbage_is_a_message_an_unknown_type_or_a_protocol_error(line):
    try:
        message = decode_line(line, EVENTS)
    except ProtocolError:
        return
    assert message is None or message["type"] in EVENTS


def test_messages_that_the_wire_refuses():
    with pytest.raises(ProtocolError):
        encode_line({"type": "accepted", "job_id": math.nan})
    with pytest.raises(ProtocolError, match="job_id"):
        decode_line(b'{"type":"cancel"}', COMMANDS)
    with pytest.raises(ProtocolError):
        decode_line(b'{"type":"run","job":NaN}', COMMANDS)
    with pytest.raises(ProtocolError, match="bytes"):
        decode_line(b" " * 1_000_001, COMMANDS)
    assert decode_line(b'{"type":"from_the_future"}', EVENTS) is None


def triangle(**arrays):
    values = {
        "vertices": np.eye(3, dtype=np.float32),
        "faces": np.array([[0, 1, 2]], dtype=np.int32),
        "vertex_colors": np.full((3, 4), 200, dtype=np.uint8),
    }
    return ColoredMesh(**{**values, **arrays})


def test_mesh_round_trip(tmp_path):
    path = tmp_path / "mesh.npz"
    with atomic_write(path) as file:
        save_npz(triangle(), file)
    read = load_npz(path)
    np.testing.assert_array_equal(read.vertices, np.eye(3))
    np.testing.assert_array_equal(read.vertex_colors, triangle().vertex_colors)


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
@pytest.mark.parametrize(
    "name",
    ["mesh.npz", f".mesh.npz.{os.getpid()}.part"],
    ids=["the file", "the file being written"],
)
def test_a_link_that_waits_in_the_folder_is_not_written_through(tmp_path, name):
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / name).symlink_to(victim)
    with atomic_write(folder / "mesh.npz") as file:
        save_npz(triangle(), file)
    assert victim.read_text() == "years of work"
    assert [path.name for path in folder.iterdir()] == ["mesh.npz"]
    assert not (folder / "mesh.npz").is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_a_traceback_is_not_written_through_a_link(tmp_path):
    victim = tmp_path / "thesis.txt"
    victim.write_text("years of work")
    folder = tmp_path / "job"
    folder.mkdir()
    (folder / "traceback.txt").symlink_to(victim)
    try:
        raise KeyError("a bug \ud800")
    except KeyError:
        path = write_traceback(folder)
    assert victim.read_text() == "years of work"
    assert "KeyError" in path.read_text() and not path.is_symlink()


@pytest.mark.skipif(os.name == "nt", reason="symbolic links")
def test_a_folder_that_leads_elsewhere_is_refused(tmp_path):
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "job"
    elsewhere.mkdir()
    assert folder_within(folder, "views").is_dir() and folder_within(folder, "views").is_dir()
    (folder / "previews").symlink_to(elsewhere)
    with pytest.raises(OutputError, match=r"got a link to .*elsewhere"):
        folder_within(folder, "previews")
    (tmp_path / "linked").symlink_to(folder)
    assert folder_within(tmp_path / "linked", "views").is_dir()


@pytest.mark.parametrize(
    "arrays",
    [
        {"vertices": np.full((3, 3), np.nan, dtype=np.float32)},
        {"faces": np.array([[0, 1, 3]], dtype=np.int32)},
        {"faces": np.zeros((0, 3), dtype=np.int32)},
        {"vertex_colors": np.zeros((2, 4), dtype=np.uint8)},
    ],
)
def test_meshes_that_break_the_invariants(arrays):
    with pytest.raises(ValueError, match="expected"):
        triangle(**arrays)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 nonsense", b"text"])
def test_a_damaged_mesh_file(tmp_path, content):
    path = tmp_path / "mesh.npz"
    path.write_bytes(content)
    with pytest.raises(OutputError, match=r"mesh\.npz"):
        load_npz(path)


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "report.json"
    path.write_bytes(b"old")
    with pytest.raises(RuntimeError), atomic_write(path) as file:
        file.write(b"half")
        raise RuntimeError
    assert path.read_bytes() == b"old" and list(tmp_path.iterdir()) == [path]


def test_an_output_folder_that_is_a_file(tmp_path):
    (tmp_path / "taken").write_bytes(b"")
    with pytest.raises(OutputError, match="taken"):
        prepare_output_dir(tmp_path / "taken")
