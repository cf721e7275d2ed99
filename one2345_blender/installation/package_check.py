# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the packages are there, in the versions that are asked for, with all that they need."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from importlib.metadata import PackageNotFoundError, requires, version
from pathlib import Path
from typing import TYPE_CHECKING

from ..contracts.errors import EnvironmentMissingError
from .finding import ERROR, OK, WARNING, Finding

if TYPE_CHECKING:
    from packaging.requirements import Requirement

PROJECT_FILE = Path(__file__).resolve().parents[2] / "pyproject.toml"
_EXTRA = "pipeline"
_HINT = "Run vendor_install.py, or install the [pipeline] packages here."


def check_packages() -> Iterator[Finding]:
    """A finding for each package that we ask for, and one for all that these ask for.

    Raises:
        EnvironmentMissingError: The list of packages is not there.
    """
    from packaging.requirements import Requirement  # absent, it is one of those that are missing

    asked = [Requirement(text) for text in _requirements()]
    for requirement in asked:
        found = _version(requirement.name)
        name = f"package {requirement.name}"
        if found is None:
            yield Finding(name=name, status=ERROR, found="not installed", hint=_HINT)
        elif not requirement.specifier.contains(found, prereleases=True):
            wanted = f"{found}, expected {requirement.specifier}"
            yield Finding(name=name, status=WARNING, found=wanted, hint=_HINT)
        else:
            yield Finding(name=name, status=OK, found=found)
    number, missing, unfit = _look_beneath(asked)
    name = "packages that they need"
    if missing or unfit:
        status, found = ERROR if missing else WARNING, "; ".join([*missing, *unfit])
        yield Finding(name=name, status=status, found=found, hint=_HINT)
    else:
        yield Finding(name=name, status=OK, found=f"{number}, all there and fit")


def _requirements() -> list[str]:
    try:
        project = tomllib.loads(PROJECT_FILE.read_text(encoding="utf-8"))["project"]
        return list(project["optional-dependencies"][_EXTRA])
    except (OSError, ValueError, KeyError) as error:
        raise EnvironmentMissingError(
            f"Expected the list of packages in {PROJECT_FILE}, got {error!r}.",
            hint="Run the doctor from the folder of the release, or install the add-on again.",
        ) from error


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def _look_beneath(asked: list[Requirement]) -> tuple[int, list[str], list[str]]:
    """What the packages need, and what that needs: how many, which are missing or do not fit."""
    from packaging.requirements import Requirement
    from packaging.utils import canonicalize_name

    top = {canonicalize_name(requirement.name) for requirement in asked}
    waiting = [requirement for requirement in asked if _version(requirement.name) is not None]
    seen: set[tuple[str, frozenset[str]]] = set()
    found, missing, unfit = set(), dict[str, None](), dict[str, None]()
    while waiting:
        parent = waiting.pop()
        key = (canonicalize_name(parent.name), frozenset(parent.extras))
        if key in seen:
            continue
        seen.add(key)
        for text in requires(parent.name) or ():
            needed = Requirement(text)
            extras = parent.extras or {""}
            if needed.marker and not any(needed.marker.evaluate({"extra": e}) for e in extras):
                continue
            name, there = canonicalize_name(needed.name), _version(needed.name)
            if there is None:
                missing[f"{needed.name} is missing, which {parent.name} needs"] = None
                continue
            if not needed.specifier.contains(there, prereleases=True):
                unfit[f"{needed.name} {there}, but {parent.name} needs {needed.specifier}"] = None
            if name not in top:
                found.add(name)
            waiting.append(needed)
    return len(found), list(missing), list(unfit)
