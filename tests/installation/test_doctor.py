# SPDX-License-Identifier: GPL-3.0-or-later
"""The doctor finds what is wrong, and says what to do about it."""

from __future__ import annotations

import json
import os
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


def test_a_conversion_that_fails_before_its_first_stage_is_a_finding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def fail(*arguments: object, **options: object) -> None:
        raise MemoryError("the picture")

    monkeypatch.setattr("one2345_blender.installation.stage_trial.convert_image", fail)
    findings = by_name(examine().findings)
    assert findings["stage load_models"].status == ERROR
    assert "MemoryError: the picture" in findings["stage load_models"].found


def test_packages_of_other_versions_and_what_they_lack_are_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "pyproject.toml"
    monkeypatch.setattr("one2345_blender.installation.package_check.PROJECT_FILE", project)
    asked = ["torch==1.0", "numpy", "no-such-package==3", "needy", "picky"]
    project.write_text(f"[project.optional-dependencies]\npipeline = {json.dumps(asked)}")
    for name, needs in (("needy", "another-that-is-not-there"), ("picky", "numpy<1")):
        metadata = tmp_path / f"{name}-1.0.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(
            f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\nRequires-Dist: {needs}\n"
        )
    monkeypatch.syspath_prepend(str(tmp_path))
    findings = by_name(examine(try_stages=False).findings)
    assert (
        findings["package torch"].status == WARNING and "==1.0" in findings["package torch"].found
    )
    assert findings["package numpy"].status == OK
    assert findings["package no-such-package"].status == ERROR
    beneath = findings["packages that they need"]
    assert beneath.status == ERROR
    assert "another-that-is-not-there is missing, which needy needs" in beneath.found
    assert "but picky needs <1" in beneath.found
    project.unlink()
    assert by_name(examine(try_stages=False).findings)["packages"].status == ERROR


@pytest.mark.skipif(os.name == "nt", reason="a shell script stands in for NVIDIA's tool")
@pytest.mark.parametrize(("answer", "told"), [("580.65.06", True), ("No devices", False)])
def test_the_driver_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, told: bool
) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text(f"#!/bin/sh\necho '{answer}'\n")
    tool.chmod(0o700)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)
    devices = by_name(examine(try_stages=False).findings)["devices"]
    assert (f"NVIDIA driver {answer}" in devices.found) == told


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


def index_without_end(preset: Path) -> None:
    (preset / "model_index.json").unlink()
    (preset / "model_index.json").symlink_to("/dev/zero")


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
        pytest.param(
            index_without_end, marks=pytest.mark.skipif(os.name == "nt", reason="devices")
        ),
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
