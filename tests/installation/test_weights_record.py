# SPDX-License-Identifier: GPL-3.0-or-later
"""The record of downloaded weights: read back as written, or refused, whatever it says."""

from __future__ import annotations

import json
import os
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from damage import damaged, fuzzed, write_anew
from hypothesis import given
from hypothesis import strategies as st

from one2345_blender.contracts.errors import CheckpointError
from one2345_blender.installation.weights_record import (
    WEIGHTS_JSON,
    FileRecord,
    SourceRecord,
    checked,
    read_records,
    write_records,
)

RECORDS = (
    SourceRecord(
        repo_id="a/b",
        commit="0" * 40,
        licence="MIT",
        files=(
            FileRecord(path="unet/config.json", size_bytes=3, git_sha1="0" * 40),
            FileRecord(path="big.safetensors", size_bytes=2**40, sha256="f" * 64),
        ),
    ),
)


def test_round_trip(tmp_path: Path) -> None:
    assert read_records(tmp_path) is None
    write_records(tmp_path, RECORDS)
    assert read_records(tmp_path) == RECORDS


@pytest.fixture
def document(tmp_path: Path) -> Any:
    """What is written of `RECORDS`."""
    write_records(tmp_path, RECORDS)
    return json.loads((tmp_path / WEIGHTS_JSON).read_bytes())


@fuzzed
@given(st.data())
def test_damaged_records(tmp_path: Path, document: Any, data: st.DataObject) -> None:
    write_anew(tmp_path / WEIGHTS_JSON, json.dumps(data.draw(damaged(document))).encode())
    try:
        for record in read_records(tmp_path) or ():
            assert record.size_bytes >= 0
            for file in record.files:
                parts = PurePosixPath(file.path).parts
                assert ".." not in parts and not file.path.startswith("/")
                assert file.sha256 or file.git_sha1
    except CheckpointError:
        pass


@pytest.mark.skipif(os.name == "nt", reason="symbolic links, devices")
def test_a_record_that_leads_to_a_device_is_refused(tmp_path: Path) -> None:
    (tmp_path / WEIGHTS_JSON).symlink_to("/dev/zero")
    with pytest.raises(CheckpointError, match="no plain file"):
        read_records(tmp_path)


@pytest.mark.parametrize("size_bytes", [float("nan"), float("inf"), -1, True, 3.0])
def test_what_is_no_size(size_bytes: float) -> None:
    with pytest.raises(ValueError, match="is no size"):
        FileRecord(path="a.json", size_bytes=size_bytes, sha256="f" * 64)  # type: ignore[arg-type]


def test_a_file_is_known_by_its_git_hash(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_bytes(b"hello\n")
    record = FileRecord(
        path="a.json", size_bytes=6, git_sha1="ce013625030ba8dba906f756967f9e9ca394464a"
    )
    found = checked(path, record)
    assert found.sha256 is not None and found.sha256.startswith("5891b5b5")
    path.write_bytes(b"hallo\n")
    with pytest.raises(CheckpointError, match="git_sha1"):
        checked(path, record)
    path.write_bytes(b"longer than it was")
    with pytest.raises(CheckpointError, match="bytes"):
        checked(path, record)
