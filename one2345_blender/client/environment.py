# SPDX-License-Identifier: GPL-3.0-or-later
"""Which Python runs the worker, and how it is started."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from ..contracts.errors import EnvironmentMissingError

PYTHON_VARIABLE = "ONE2345_PYTHON"
_WORKER_MODULE = "one2345_blender.worker"
_RUNTIME_IS_COMPLETE = ".complete"
"""The file that vendor_install.py leaves in an environment once it is whole."""
_RUNTIME_PYTHON = Path("Scripts/python.exe") if sys.platform == "win32" else Path("bin/python")
PACKAGE_PARENT = Path(__file__).resolve().parents[2]
"""The folder that holds the package, and `vendor_install.py` beside it."""
_NEEDED = re.compile(
    r"PATH|HOME|USER|LOGNAME|LANG|LANGUAGE|LC_\w+|TZ|TMPDIR|TEMP|TMP|XDG_\w+|ONE2345_\w+"
    r"|LD_LIBRARY_PATH|DYLD_\w+_PATH|MALLOC_\w+"
    r"|SYSTEM(ROOT|DRIVE)|WINDIR|COMSPEC|PATHEXT|USERPROFILE|(LOCAL)?APPDATA|PROGRAM\w+"
    r"|PROCESSOR_\w+|NUMBER_OF_PROCESSORS"
    r"|(CUDA|NVIDIA|HIP|HSA|ROCR|ROCM|MIOPEN|ONEAPI|SYCL|ZE|TORCH|TORCHINDUCTOR|PYTORCH|TRITON)_\w+"
    r"|(OMP|GOMP|KMP|MKL|OPENBLAS)_\w+",
    re.IGNORECASE,
)
"""What Python, its libraries and the system need: places, language, Windows' own; devices and the
libraries that compute on them; our own settings. Nothing that steers an interpreter (`PYTHON…`) or
loads code (`LD_PRELOAD`)."""
_SECRETS = re.compile(r"(TOKEN|SECRET|PASSWORD|CREDENTIALS|KEY)(_|$)", re.IGNORECASE)
"""Not even where the first half of a name is needed."""
NETWORK = re.compile(
    r"(HTTPS?|ALL|NO)_PROXY|SSL_CERT_(FILE|DIR)|(REQUESTS|CURL)_CA_BUNDLE", re.IGNORECASE
)
"""What a program that downloads needs besides: the way out, and whom to trust."""
HUB = re.compile(r"HF_\w+|HUGGING_?FACE_\w+", re.IGNORECASE)
"""Of Hugging Face's library: its endpoint, its cache, and the token that is for it."""
PACKAGES = re.compile(r"PIP_\w+|UV_(?!\w*(?:TOKEN|PASSWORD|PUBLISH))\w+", re.IGNORECASE)
"""Of the package installers: the mirrors that the user has set, whose passwords are in these."""
OFFLINE_VARIABLE = "HF_HUB_OFFLINE"
"""Keeps Hugging Face's libraries from connecting."""


@dataclass(frozen=True, kw_only=True)
class WorkerLaunch:
    """How to start one process: a worker, or a command that works for it."""

    argv: tuple[str, ...]
    env: Mapping[str, str]


def find_worker_python(
    *,
    preferred: str,
    environ: Mapping[str, str],
    runtime_dir: Path | None,
    is_runtime_changing: bool = False,
) -> Path:
    """The interpreter that the user chose, else `ONE2345_PYTHON`, else the installed runtime.

    Args:
        preferred: Path from the add-on's preferences; empty: none chosen.
        environ: The process environment.
        runtime_dir: The environment that vendor_install.py makes, if there is a place for it.
        is_runtime_changing: It is being installed or removed.

    Raises:
        EnvironmentMissingError: A named interpreter is not there, or none is named and no runtime
            is installed, or it is changing. A named one that is missing never falls through to the
            next.
    """
    if preferred:
        return _existing(Path(preferred), "the add-on's preferences")
    if named := environ.get(PYTHON_VARIABLE, ""):
        return _existing(Path(named), f"the environment variable {PYTHON_VARIABLE}")
    if is_runtime_changing:
        raise EnvironmentMissingError(
            "The runtime is being installed.",
            hint="Wait for the end of the installation, or cancel it, under Preferences > Add-ons "
            "> One-2-3-45.",
        )
    if runtime_dir is not None and (runtime_dir / _RUNTIME_IS_COMPLETE).is_file():
        return _living(runtime_dir / _RUNTIME_PYTHON)
    raise EnvironmentMissingError(
        "The runtime of One-2-3-45 is not installed, and no other Python is chosen.",
        hint="Press Install Runtime under Preferences > Add-ons > One-2-3-45, or choose there a "
        "Python that has the [pipeline] requirements, or name it in the environment variable "
        f"{PYTHON_VARIABLE}.",
    )


def worker_launch(python: Path, environ: Mapping[str, str]) -> WorkerLaunch:
    """The command line and environment of a worker that imports this copy of the package.

    It converts with what is on this machine: it is told to stay off the hub, and no secrets.
    """
    argv = (str(python), "-s", "-u", "-X", "utf8", "-m", _WORKER_MODULE)
    return WorkerLaunch(argv=argv, env={**worker_environment(environ), OFFLINE_VARIABLE: "1"})


def worker_environment(environ: Mapping[str, str], *also_needed: re.Pattern[str]) -> dict[str, str]:
    """The environment of a process that imports this copy of the package.

    Args:
        environ: The process environment, of which it gets what every child needs.
        also_needed: What this one needs besides: `NETWORK`, `HUB`, `PACKAGES`.
    """
    env = {
        name: value
        for name, value in environ.items()
        if (_NEEDED.fullmatch(name) and not _SECRETS.search(name))
        or any(names.fullmatch(name) for names in also_needed)
    }
    env["PYTHONPATH"] = str(PACKAGE_PARENT)
    env["PYTHONSAFEPATH"] = "1"  # the job folder, its working directory, holds no modules
    return env


def _living(python: Path) -> Path:
    """The runtime's interpreter is a link to the Python that it was made with: Blender's own."""
    if not python.is_file():
        raise EnvironmentMissingError(
            f"Expected the runtime's Python at {python}, but the Python that it was made with is "
            "gone: Blender was moved, updated or removed.",
            hint="Press Install Runtime under Preferences > Add-ons > One-2-3-45: it is made anew.",
        )
    return python


def _existing(python: Path, named_by: str) -> Path:
    if not python.is_file():
        raise EnvironmentMissingError(
            f"Expected a Python interpreter at {python}, which {named_by} names; there is no such "
            "file.",
            hint="Correct that path, or clear it to use the installed runtime.",
        )
    return python
