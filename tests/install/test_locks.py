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
PLATFORM_TAGS = {
    "linux-x86_64": r"manylinux\w*x86_64",
    "linux-aarch64": r"manylinux\w*aarch64",
    "windows-x86_64": "win_amd64",
    "macos-arm64": r"macosx\w*(arm64|universal2)",
}
SIZE_UNKNOWN = {"linux-aarch64-cpu-py311", "linux-aarch64-cpu-py313"}
"""Of PyTorch's wheel there: its server may not be within reach where locks are written."""


def read(path: Path) -> dict:
    return tomllib.loads(path.read_text(encoding="utf-8"))


def test_every_platform_has_its_locks() -> None:
    kinds = {re.sub(r"pylock\.(.*)-py3\d+\.toml", r"\1", path.name) for path in LOCKS}
    assert kinds == {
        "linux-x86_64-cpu",
        "linux-x86_64-cuda",
        "linux-aarch64-cpu",
        "linux-aarch64-cuda",
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
    platform, device, python = re.fullmatch(  # type: ignore[union-attr]
        r"pylock\.(\w+-\w+)-(\w+)-py(\d+)\.toml", path.name
    ).groups()
    assert document["requires-python"] == f"=={python[0]}.{python[1:]}.*"
    for package in document["packages"]:
        (wheel,) = package["wheels"]
        name = unquote(wheel["url"].rsplit("/", 1)[1])
        assert wheel["url"].startswith("https://")
        assert re.fullmatch("[0-9a-f]{64}", wheel["hashes"]["sha256"])
        assert f"-cp{python}-" in name or "-abi3-" in name or re.search(r"-py(2\.py)?3-none-", name)
        assert name.endswith("-any.whl") or re.search(PLATFORM_TAGS[platform], name)
    names = {package["name"] for package in document["packages"]}
    has_cuda_packages = any(name.startswith("nvidia-") for name in names)
    assert has_cuda_packages == (device == "cuda" and platform.startswith("linux"))


@pytest.mark.parametrize("path", LOCKS, ids=lambda path: path.stem.removeprefix("pylock."))
def test_a_lock_says_beforehand_what_it_costs(path: Path) -> None:
    document = read(path)
    tool, kind = document["tool"]["one2345"], path.stem.removeprefix("pylock.")
    unknown = [p["name"] for p in document["packages"] if "size" not in p["wheels"][0]]
    assert unknown == (["torch"] if kind in SIZE_UNKNOWN else [])
    assert (tool.get("estimated-bytes", 0) > 1e8) == bool(unknown)
    known = sum(package["wheels"][0].get("size", 0) for package in document["packages"])
    assert tool["installed-bytes"] > known + tool.get("estimated-bytes", 0)
    assert re.fullmatch("[0-9a-f]{64}", tool["uv"]["hashes"]["sha256"])
