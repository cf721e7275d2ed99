# SPDX-License-Identifier: GPL-3.0-or-later
"""Looks over an installation: what is there, what works, and what to do about the rest."""

from __future__ import annotations

import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from ..contracts.errors import One2345Error
from ..contracts.job import PRESETS
from ..contracts.preset_location import user_presets_folder
from ..version import __version__
from .finding import ERROR, OK, WARNING, Diagnosis, Finding

_DRIVER_VARIABLES = ("PATH", "SYSTEMROOT", "WINDIR", "LD_LIBRARY_PATH")
MIN_FREE_DISK_BYTES, MIN_FREE_MEMORY_BYTES = 2_000_000_000, 2_000_000_000


def examine(*, try_stages: bool = True) -> Diagnosis:
    """Look at everything; what fails is a finding, not an exception.

    Args:
        try_stages: Also run every stage of the method once, on tiny input.
    """
    checks: list[Callable[[], Iterator[Finding]]] = [
        _interpreter,
        _packages,
        _devices,
        _memory,
        _disk,
        _presets,
    ]
    if try_stages:
        checks.append(_stages)
    findings: list[Finding] = []
    for check in checks:
        try:
            findings += check()
        except ImportError as error:
            name = check.__name__.strip("_")
            hint = "Run vendor_install.py, or install the [pipeline] packages here."
            findings.append(Finding(name=name, status=ERROR, found=f"{error}", hint=hint))
        except (One2345Error, OSError, RuntimeError) as error:
            name, hint = check.__name__.strip("_"), getattr(error, "hint", "Please report it.")
            findings.append(Finding(name=name, status=ERROR, found=f"{error}", hint=hint))
        except Exception as error:  # whatever it is, it is what the doctor was asked for
            name, found = check.__name__.strip("_"), f"unexpected {type(error).__name__}: {error}"
            hint = "Please report it with what `doctor --json` prints."
            findings.append(Finding(name=name, status=ERROR, found=found, hint=hint))
    return Diagnosis(findings=tuple(findings))


def _interpreter() -> Iterator[Finding]:
    found = f"Python {platform.python_version()}, {sys.executable}, {platform.platform()}"
    yield Finding(name="interpreter", status=OK, found=f"{found}, one2345 {__version__}")


def _packages() -> Iterator[Finding]:
    from .package_check import check_packages

    yield from check_packages()


def _devices() -> Iterator[Finding]:
    import torch

    from ..pipeline.devices import available_devices

    devices = available_devices()
    found = f"{', '.join(devices)}; torch {torch.__version__}, {torch.get_num_threads()} threads"
    driver = _nvidia_driver()
    found += f"; NVIDIA driver {driver}" if driver else ""
    if torch.cuda.is_available():
        free, total = torch.cuda.mem_get_info()
        found += f"; {torch.cuda.get_device_name()}, {free / 1e9:.1f} of {total / 1e9:.1f} GB free"
    elif driver:
        hint = "Update NVIDIA's driver, and install again with --device cuda."
        yield Finding(name="devices", status=WARNING, found=found, hint=hint)
        return
    yield Finding(name="devices", status=OK, found=found)


def _nvidia_driver() -> str:
    """Its version as `nvidia-smi` tells it; empty: there is none, or no card that it knows of."""
    query = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
    needed = {name: os.environ[name] for name in _DRIVER_VARIABLES if name in os.environ}
    try:
        answer = subprocess.check_output(
            query, text=True, timeout=60, stderr=subprocess.DEVNULL, env=needed
        )
    except (OSError, ValueError, subprocess.SubprocessError):
        return ""
    version = answer.split("\n")[0].strip()
    return version if re.fullmatch(r"\d[\w.]*", version) else ""


def _memory() -> Iterator[Finding]:
    import psutil

    memory = psutil.virtual_memory()
    found = f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free"
    if memory.available < MIN_FREE_MEMORY_BYTES:
        hint = "Close other programs before converting."
        yield Finding(name="memory", status=WARNING, found=found, hint=hint)
    else:
        yield Finding(name="memory", status=OK, found=found)


def _disk() -> Iterator[Finding]:
    presets = user_presets_folder()
    existing = next(p for p in (presets, *presets.parents) if p.is_dir())
    for name, folder in (("temporary files", Path(tempfile.gettempdir())), ("weights", existing)):
        free = shutil.disk_usage(folder).free
        found = f"{free / 1e9:.1f} GB free in {folder}"
        if not os.access(folder, os.W_OK):
            hint = "Choose another folder: TMPDIR and ONE2345_PRESETS name them."
            yield Finding(
                name=f"disk for {name}", status=WARNING, found=f"{found}, read-only", hint=hint
            )
        elif free < MIN_FREE_DISK_BYTES:
            hint = "Free some space."
            yield Finding(name=f"disk for {name}", status=WARNING, found=found, hint=hint)
        else:
            yield Finding(name=f"disk for {name}", status=OK, found=found)


def _presets() -> Iterator[Finding]:
    from ..pipeline.preset_folders import preset_folder
    from .preset_check import check_preset

    for preset in PRESETS:
        is_needed = preset == "embedded"
        try:
            found = check_preset(preset_folder(preset))
            yield Finding(name=f"preset {preset}", status=OK, found=found)
        except One2345Error as error:
            status = ERROR if is_needed else WARNING
            yield Finding(
                name=f"preset {preset}", status=status, found=error.message, hint=error.hint
            )


def _stages() -> Iterator[Finding]:
    from .stage_trial import try_each_stage

    yield from try_each_stage()
