# SPDX-License-Identifier: GPL-3.0-or-later
"""The lock files: what pyproject.toml asks for, one checked wheel each, right for the platform."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from urllib.parse import unquote

import pytest

packaging_requirements = pytest.importorskip("packaging.requirements")

ROOT = Path(__file__).resolve().parents[2]
LOCKS = sorted((ROOT / "locks").glob("pylock.*.toml"))
PLATFORM_TAGS = {"linux": "manylinux", "windows": "win_amd64", "macos": "macosx"}


def read(path: Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_every_platform_has_its_locks() -> None:
    kinds = {re.sub(r"pylock\.(.*)-py3\d+\.toml", r"\1", path.name) for path in LOCKS}
    assert kinds == {
        "linux-x86_64-cpu",
        "linux-x86_64-cuda",
        "windows-x86_64-cpu",
        "windows-x86_64-cuda",
        "macos-arm64-cpu",
    }


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem.removeprefix("pylock."))
def test_a_lock_holds_what_the_project_asks_for(path: Path) -> None:
    locked = {package["name"]: package["version"] for package in read(path)["packages"]}
    extras = read(ROOT / "pyproject.toml")["project"]["optional-dependencies"]
    for line in extras["pipeline"]:
        requirement = packaging_requirements.Requirement(line)
        assert requirement.specifier.contains(locked[requirement.name]), line


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem.removeprefix("pylock."))
def test_every_wheel_is_one_checked_file_for_the_platform(path: Path) -> None:
    document = read(path)
    system, device, python = re.fullmatch(  # type: ignore[union-attr]
        r"pylock\.(\w+?)-\w+-(\w+)-py(\d+)\.toml", path.name
    ).groups()
    assert document["requires-python"] == f"=={python[0]}.{python[1:]}.*"
    for package in document["packages"]:
        (wheel,) = package["wheels"]
        name = unquote(wheel["url"].rsplit("/", 1)[1])
        assert wheel["url"].startswith("https://")
        assert re.fullmatch("[0-9a-f]{64}", wheel["hashes"]["sha256"])
        assert f"-cp{python}-" in name or "-abi3-" in name or re.search(r"-py(2\.py)?3-none-", name)
        assert name.endswith("-any.whl") or PLATFORM_TAGS[system] in name
    names = {package["name"] for package in document["packages"]}
    has_cuda_packages = any(name.startswith("nvidia-") for name in names)
    assert has_cuda_packages == (device == "cuda" and system == "linux")
    assert re.fullmatch("[0-9a-f]{64}", document["tool"]["one2345"]["uv"]["hashes"]["sha256"])
