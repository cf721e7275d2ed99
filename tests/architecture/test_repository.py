# SPDX-License-Identifier: GPL-3.0-or-later
"""Rules that hold for every file of the repository."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from one2345_blender.version import __version__

ROOT = Path(__file__).resolve().parents[2]
MAX_LINES = 400
ONE_FILE_BY_DESIGN = {"vendor_install.py"}
"""It is run by hand and before any package is there, so it cannot lean on other files."""


def tracked_files(*patterns: str) -> list[Path]:
    """Files under version control, and new ones that are not ignored."""
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "--", *patterns]
    names = subprocess.check_output(command, cwd=ROOT, text=True).splitlines()
    return [path for path in map(ROOT.joinpath, names) if path.is_file()]


PYTHON_FILES = tracked_files("*.py")


def test_licence_header_is_the_first_line() -> None:
    header = "# SPDX-License-Identifier: GPL-3.0-or-later"
    bare = [
        path.relative_to(ROOT)
        for path in PYTHON_FILES
        if header not in path.read_text(encoding="utf-8").splitlines()[:2]
    ]
    assert bare == []


def test_files_are_short() -> None:
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in PYTHON_FILES
        if path.name not in ONE_FILE_BY_DESIGN
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_LINES} == {}


def test_nothing_waits_by_a_clock_that_can_jump() -> None:
    """A correction of the time, or its being set, must not end a deadline or prolong one."""
    workshop = {ROOT / "one2345_blender" / room for room in ("training", "evaluation")}
    files = tracked_files("one2345_blender/*.py", "vendor_install.py")
    jumping = re.compile(r"\btime\.time(_ns)?\(|\bfrom time import|\bdatetime\b")
    assert files and not [
        path.relative_to(ROOT)
        for path in files
        if workshop.isdisjoint(path.parents) and jumping.search(path.read_text(encoding="utf-8"))
    ]


@pytest.mark.parametrize(
    "forbidden",
    [
        r"\bshell=True|\bos\.(system|popen)\(|\bcreate_subprocess_shell\b",
        r"^\s*(import|from) (socket|socketserver|asyncio|http\.server|xmlrpc)\b",
    ],
    ids=["shells", "listening sockets"],
)
def test_what_nothing_needs_is_nowhere_used(forbidden: str) -> None:
    files = tracked_files(
        "one2345_blender/*.py", "vendor_install.py", "__init__.py", "scripts/*.py"
    )
    pattern = re.compile(forbidden, re.MULTILINE)
    using = [path for path in files if pattern.search(path.read_text(encoding="utf-8"))]
    assert files and [str(path.relative_to(ROOT)) for path in using] == []


def test_test_files_have_unique_names() -> None:
    names = [path.name for path in tracked_files("tests/**/*.py") if path.name != "conftest.py"]
    assert "__init__.py" not in names
    assert len(names) == len(set(names))


def test_versions_agree() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    changes = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    newest = re.search(r"^## \[(\d+\.\d+\.\d+)\]", changes, re.MULTILINE)
    assert newest is not None
    versions = {project["project"]["version"], manifest["version"], newest[1], __version__}
    assert len(versions) == 1


@pytest.mark.parametrize(
    "workflow", sorted((ROOT / ".github" / "workflows").glob("*.yml")), ids=lambda path: path.stem
)
def test_workflows_only_call_make_targets(workflow: Path) -> None:
    targets = set(
        re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    commands = re.findall(r"^\s*-? ?run: (.*)$", workflow.read_text(encoding="utf-8"), re.MULTILINE)
    assert commands
    for command in commands:
        called = re.fullmatch(r"(?:sudo )?make ([a-z0-9-]+)", command)
        assert called is not None, command
        assert called[1] in targets
