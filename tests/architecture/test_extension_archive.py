# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive that Blender installs holds what it should and nothing else."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
TOP_LEVEL = {
    "__init__.py",
    "blender_manifest.toml",
    "vendor_install.py",
    "pyproject.toml",
    "locks",
    "LICENSE",
    "README.md",
    "one2345_blender",
}
ROOMS = {"contracts", "client", "addon", "worker", "pipeline", "installation"}
MODULES = {"__init__.py", "__main__.py", "cli.py", "version.py"}

pytestmark = pytest.mark.blender


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output_dir = tmp_path_factory.mktemp("dist")
    command = [sys.executable, "scripts/build_extension.py", "--output-dir", str(output_dir)]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert finished.returncode == 0, finished.stdout + finished.stderr
    (archive,) = output_dir.glob("*.zip")
    return archive


@pytest.fixture(scope="module")
def archive_names(archive: Path) -> list[PurePosixPath]:
    with zipfile.ZipFile(archive) as opened:
        return [PurePosixPath(name) for name in opened.namelist()]


def test_top_level(archive_names: list[PurePosixPath]) -> None:
    assert {path.parts[0] for path in archive_names} == TOP_LEVEL


def test_package_holds_the_rooms_that_users_run(archive_names: list[PurePosixPath]) -> None:
    inside = {path.parts[1] for path in archive_names if path.parts[0] == "one2345_blender"}
    assert inside == ROOMS | MODULES


def test_no_build_products(archive_names: list[PurePosixPath]) -> None:
    assert not [path for path in archive_names if "__pycache__" in path.parts]
    assert not [path for path in archive_names if path.suffix in {".pyc", ".zip", ".log", ".blend"}]


@pytest.mark.preset
@pytest.mark.torch
def test_the_doctor_knows_each_byte_of_the_weights(archive: Path, tmp_path: Path) -> None:
    from one2345_blender.contracts.errors import CheckpointError
    from one2345_blender.installation.preset_check import check_preset

    with zipfile.ZipFile(archive) as opened:
        opened.extractall(tmp_path)
    preset = tmp_path / "one2345_blender" / "pipeline" / "presets" / "embedded"
    weights = sorted(preset.rglob("*.safetensors"))
    assert f"{len(weights)} files with the right SHA-256" in check_preset(preset)
    with weights[-1].open("r+b") as file:
        file.seek(-1, 2)
        last = file.read(1)
        file.seek(-1, 2)
        file.write(bytes([last[0] ^ 1]))
    with pytest.raises(CheckpointError, match="SHA-256"):
        check_preset(preset)
