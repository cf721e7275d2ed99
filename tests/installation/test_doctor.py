# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor finds what is wrong, and says what to do about it."""

from __future__ import annotations

import json
import shutil
import struct
from collections.abc import Callable
from pathlib import Path

import pytest

from one2345_blender import cli
from one2345_blender.contracts.errors import CheckpointError
from one2345_blender.contracts.progress import STAGES
from one2345_blender.installation.doctor import examine
from one2345_blender.installation.finding import ERROR, OK, WARNING, Finding
from one2345_blender.installation.preset_check import check_preset


def by_name(findings: tuple[Finding, ...]) -> dict[str, Finding]:
    return {finding.name: finding for finding in findings}


def test_everything_is_looked_at_and_what_is_wrong_has_a_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_PRESETS", str(tmp_path / "none yet"))
    findings = by_name(examine(try_stages=False).findings)
    assert findings["package torch"].status == OK
    assert findings["preset zero123-xl"].status == WARNING
    assert {"interpreter", "devices", "memory", "disk for weights"} <= findings.keys()
    assert all(f.hint for f in findings.values() if f.status != OK)


def test_a_full_disk_is_a_warning(
    small_disk: Callable[[int], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ONE2345_PRESETS", str(small_disk(1_000_000)))
    findings = by_name(examine(try_stages=False).findings)
    assert findings["disk for weights"].status == WARNING


@pytest.mark.preset
def test_every_stage_is_tried_and_the_report_is_json(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["doctor", "--json"]) == 0
    report = json.loads(capsys.readouterr().out)
    assert report["is_healthy"]
    tried = [f["name"] for f in report["findings"] if f["name"].startswith("stage ")]
    assert tried == [f"stage {stage}" for stage in STAGES]


@pytest.fixture
def preset(tiny_preset: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_preset, tmp_path / "preset"))


def test_a_whole_preset(preset: Path) -> None:
    assert "7 parts" in check_preset(preset)


def weights(preset: Path) -> Path:
    return next((preset / "unet").glob("*.safetensors"))


def cut_short(preset: Path) -> None:
    path = weights(preset)
    path.write_bytes(path.read_bytes()[:-1])


def header_of_exabytes(preset: Path) -> None:
    path = weights(preset)
    path.write_bytes(struct.pack("<Q", 2**60) + path.read_bytes()[8:])


def tensor_beyond_the_end(preset: Path) -> None:
    header = json.dumps(
        {"a": {"dtype": "F32", "shape": [2**40], "data_offsets": [0, 2**42]}}
    ).encode()
    weights(preset).write_bytes(struct.pack("<Q", len(header)) + header + bytes(16))


def missing_part(preset: Path) -> None:
    shutil.rmtree(preset / "vae")


def part_elsewhere(preset: Path) -> None:
    path = preset / "model_index.json"
    path.write_text(json.dumps({"../../etc": ["a", "b"]}))


def index_that_is_no_json(preset: Path) -> None:
    (preset / "model_index.json").write_bytes(b"[" * 100_000)


@pytest.mark.parametrize(
    "damage",
    [
        cut_short,
        header_of_exabytes,
        tensor_beyond_the_end,
        missing_part,
        part_elsewhere,
        index_that_is_no_json,
    ],
)
def test_a_damaged_preset_is_found(
    preset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: Callable[[Path], None]
) -> None:
    damage(preset)
    with pytest.raises(CheckpointError) as caught:
        check_preset(preset)
    assert caught.value.hint
    monkeypatch.setenv("ONE2345_PRESETS", str(tmp_path))
    preset.rename(tmp_path / "zero123-xl")
    if (tmp_path / "zero123-xl" / "model_index.json").is_file():
        findings = by_name(examine(try_stages=False).findings)
        assert findings["preset zero123-xl"].status == WARNING


def test_an_unhealthy_installation_has_the_status_2(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("one2345_blender.contracts.preset_location._PACKAGED", tmp_path)
    assert cli.main(["doctor", "--quick"]) == 2
    printed = capsys.readouterr().out
    assert f"{ERROR:8s}preset embedded" in printed and "-> Install the add-on again." in printed
