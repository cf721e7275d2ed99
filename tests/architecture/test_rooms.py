# SPDX-License-Identifier: GPL-3.0-or-later
"""The walls between the rooms hold when the code runs, and the docs draw the same walls."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from collections import defaultdict
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "one2345_blender"
CONTRACTS = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"][
    "contracts"
]
ROOM_NEEDS = {
    "addon": "bpy",
    "pipeline": "torch",
    "installation": "torch",
    "training": "moderngl",
    "evaluation": "torch",
}
IMPORT_EVERY_MODULE = """
import importlib, pkgutil, sys

name, *banned = sys.argv[1:]

class Wall:
    def find_spec(self, module, path=None, target=None):
        if any(module == b or module.startswith(b + ".") for b in banned):
            raise AssertionError(f"{name} loads {module}")

sys.meta_path.insert(0, Wall())
room = importlib.import_module(name)
for module in pkgutil.walk_packages(getattr(room, "__path__", []), name + "."):
    if not module.name.endswith("__main__"):
        importlib.import_module(module.name)
"""


def banned_modules() -> dict[str, set[str]]:
    """Room -> modules that it must not load, from the import-linter contracts."""
    banned: dict[str, set[str]] = defaultdict(set)
    for contract in CONTRACTS:
        for source in contract["source_modules"]:
            banned[source.removeprefix(f"{PACKAGE}.")].update(contract["forbidden_modules"])
    return dict(banned)


BANNED = banned_modules()
ROOMS = sorted(BANNED)


def test_every_room_has_walls() -> None:
    entries = {
        path.stem
        for path in (ROOT / PACKAGE).iterdir()
        if (path.is_dir() or path.suffix == ".py") and not path.name.startswith("__")
    }
    assert entries - {"version"} == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_room_loads_nothing_beyond_its_walls(room: str) -> None:
    need = ROOM_NEEDS.get(room)
    if need and find_spec(need) is None:
        pytest.skip(f"{need} is not installed")
    command = [sys.executable, "-c", IMPORT_EVERY_MODULE, f"{PACKAGE}.{room}", *BANNED[room]]
    finished = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert finished.returncode == 0, finished.stderr


def test_importing_the_package_imports_nothing() -> None:
    code = (
        f"import sys; before = set(sys.modules); import {PACKAGE}; print(set(sys.modules) - before)"
    )
    printed = subprocess.check_output([sys.executable, "-c", code], cwd=ROOT, text=True)
    assert printed.strip() == f"{{'{PACKAGE}'}}"


def test_diagram_draws_exactly_the_allowed_imports() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    diagram = re.search(r"```mermaid\n(.*?)```", text, re.DOTALL)
    assert diagram is not None
    drawn = set(re.findall(r"^\s*(\w+) --> (\w+)$", diagram[1], re.MULTILINE))
    allowed = {
        (room, other)
        for room in ROOMS
        for other in ROOMS
        if other != room and f"{PACKAGE}.{other}" not in BANNED[room]
    }
    assert drawn == allowed


def test_room_table_names_every_room() -> None:
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    named = re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE)
    assert sorted(named) == ROOMS
