#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the Python environment of the worker and of the command line in a given folder.

Stand-alone: Python 3.11 or newer, standard library only; it reads `pyproject.toml` and `locks/`
beside this file. The `pipeline` packages come from a lock file, each checked against its SHA-256;
other extras are for development, and pip finds them. The environment is made beside the target and
takes its place only when it is whole, which its file `.complete` says. Every step can be
interrupted; the next run goes on. `--json` speaks the worker's event format with the job id
"install" (docs/worker_protocol.md), docs/installation.md has the rest.

Exit status: 0 done, 1 failed, 2 wrong use, 3 this machine will not do (nothing was downloaded),
130 cancelled.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import errno
import hashlib
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import tomllib
import urllib.error
import urllib.parse
import urllib.request
import zipfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from http.client import HTTPException
from pathlib import Path
from typing import IO, Any

HERE = Path(__file__).resolve().parent
LOCKED_EXTRA = "pipeline"
EXTRAS = (LOCKED_EXTRA, "train", "dev")
DEVICES = ("auto", "cpu", "cuda", "mps")
TOOLS = ("auto", "uv", "pip")
STAGES = ("preflight", "download", "create_environment", "install", "verify", "replace")
COMPLETE, LOG, LOCK = ".complete", "install.log", "lock"
EXIT_STATUS = {"option": 2, "preflight": 3}
"""Of errors by code; 1 for all others."""

MANAGED_PYTHON_BYTES = 35_000_000, 130_000_000
"""Of a Python that uv brings, about: to download, and installed."""
COMPILED_SHARE, MAX_COMPILED_BYTES = 0.08, 90_000_000
"""What Python keeps of what it compiles, beside each byte of the wheels unpacked; and in all, for
what the GPUs' builds have more of is no Python.
"""
UNTOLD_BYTES = 10_000_000
"""A file of unknown size may have so much more than twice what is reckoned with."""
SAME_RELEASE = "Take vendor_install.py and the files beside it from the same release."

Event = dict[str, Any]
Emit = Callable[[Event], None]


# --- Errors -------------------------------------------------------------------------------------


class InstallError(Exception):
    """An expected failure: a stable `code`, a message for people, a `hint` that says what to do."""

    def __init__(self, code: str, message: str, *, hint: str) -> None:
        super().__init__(without_credentials(message))
        self.code, self.hint = code, hint


def without_credentials(text: str) -> str:
    """The text with what stands before the @ of an address blotted out."""
    return re.sub(r"(?<=//)[^/@\s]+@", "***@", text)


# --- The plan: which packages for which machine -------------------------------------------------


@dataclass(frozen=True, kw_only=True)
class Wheel:
    """One file to install."""

    name: str
    url: str
    sha256: str
    size_bytes: int | None
    """None: nobody has told."""
    max_bytes: int
    """What more comes than that is not the file."""

    @property
    def file_name(self) -> str:
        return urllib.parse.unquote(self.url.rsplit("/", 1)[-1])


@dataclass(frozen=True, kw_only=True)
class Lock:
    """A lock file: the wheels of the `pipeline` extra for one platform, device and Python."""

    name: str
    digest: str
    wheels: tuple[Wheel, ...]
    uv: Wheel | None
    estimated_bytes: int
    """What the wheels of unknown size come to, about."""
    installed_bytes: int

    @property
    def unmeasured(self) -> tuple[str, ...]:
        """Names of the wheels of unknown size."""
        return tuple(wheel.name for wheel in self.wheels if wheel.size_bytes is None)

    @property
    def download_bytes(self) -> int:
        """Of all wheels but uv's."""
        return self.estimated_bytes + sum(wheel.size_bytes or 0 for wheel in self.wheels)


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be installed where."""

    target: Path
    python: str | None
    """The base interpreter; None: uv is to bring its own."""
    python_version: str
    device: str | None
    """The build of PyTorch, `cpu` (with Metal on a Mac) or `cuda`; None: without PyTorch."""
    lock: Lock | None
    requirements: tuple[str, ...]
    """Every requirement that was asked for, the locked ones too."""
    unlocked: tuple[str, ...]
    """Those that pip has to find."""
    takes_uv: bool = False
    """uv makes the environment, if it can be had; what pip has to find is left to pip altogether,
    which knows this machine's settings."""

    @property
    def download_bytes(self) -> int:
        """All that is to come: wheels, uv, uv's Python; but not what pip has to find."""
        if self.lock is None:
            return 0
        fetches_uv = self.takes_uv and not shutil.which("uv")
        uv_bytes = (self.lock.uv.size_bytes or 0) if self.lock.uv and fetches_uv else 0
        python_bytes = 0 if self.python else MANAGED_PYTHON_BYTES[0]
        return self.lock.download_bytes + uv_bytes + python_bytes

    @property
    def installed_bytes(self) -> int:
        """What the environment takes once it is used, uv's Python included."""
        if self.lock is None:
            return 0
        unpacked = self.lock.installed_bytes
        compiled = min(int(unpacked * COMPILED_SHARE), MAX_COMPILED_BYTES)
        return unpacked + compiled + (0 if self.python else MANAGED_PYTHON_BYTES[1])

    @property
    def contents(self) -> dict[str, Any]:
        """What `.complete` records."""
        return {
            "python": self.python_version,
            "device": self.device,
            "requirements": sorted(self.requirements),
            "lock": self.lock.digest if self.lock else None,
        }

    def is_satisfied_by(self, environment: Path) -> bool:
        """The environment is complete and holds at least what is asked for."""
        try:
            found = json.loads((environment / COMPLETE).read_text(encoding="utf-8"))
            return (
                environment_python(environment).is_file()
                and found["python"].split(".")[:2] == self.python_version.split(".")
                and (self.lock is None or found["lock"] == self.lock.digest)
                and (self.device is None or found["device"] == self.device)
                and set(self.requirements) <= set(found["requirements"])
            )
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return False


def make_plan(
    target: Path, extras: Sequence[str], device: str, python: str | None, tool: str
) -> Plan:
    """Resolve the device, the interpreter, the packages and who installs them."""
    requirements = {extra: read_requirements(HERE / "pyproject.toml", extra) for extra in extras}
    unlocked = [r for extra in extras if extra != LOCKED_EXTRA for r in requirements[extra]]
    everything = tuple(dict.fromkeys(r for extra in extras for r in requirements[extra]))
    if LOCKED_EXTRA not in extras:
        python = python or sys.executable
        version, build, lock = interpreter_version(python), None, None
    else:
        build = torch_build(device)
        python, version = choose_python(python, build)
        lock = read_lock(lock_path(build, version))
    return Plan(
        target=target,
        python=python,
        python_version=version,
        device=build,
        lock=lock,
        requirements=everything,
        unlocked=tuple(dict.fromkeys(unlocked)),
        takes_uv=tool == "uv" or (tool == "auto" and not unlocked),
    )


def read_requirements(project_file: Path, extra: str) -> list[str]:
    """The requirements of one of the project's extras."""
    try:
        project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        return list(project["optional-dependencies"][extra])
    except (OSError, ValueError, KeyError) as error:
        raise InstallError(
            "install",
            f"Expected the packages of {extra!r} in {project_file}, got {error!r}.",
            hint=SAME_RELEASE,
        ) from error


def read_lock(path: Path) -> Lock:
    """A lock file in the standard form (PEP 751) with one wheel per package."""
    try:
        content = path.read_bytes()
        document = tomllib.loads(content.decode("utf-8"))
        tool = document["tool"]["one2345"]
        estimated = int(tool.get("estimated-bytes", 0))
        wheels = tuple(_wheel(p["name"], p["wheels"][0], estimated) for p in document["packages"])
        uv = _wheel("uv", tool["uv"], estimated) if "uv" in tool else None
        installed = int(tool["installed-bytes"])
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        raise InstallError(
            "install",
            f"Expected a lock file at {path}, got {error!r}.",
            hint=SAME_RELEASE,
        ) from error
    return Lock(
        name=path.name,
        digest=hashlib.sha256(content).hexdigest(),
        wheels=wheels,
        uv=uv,
        estimated_bytes=estimated,
        installed_bytes=installed,
    )


def _wheel(name: str, entry: dict[str, Any], estimated_bytes: int) -> Wheel:
    size_bytes = entry.get("size")
    wheel = Wheel(
        name=name,
        url=entry["url"],
        sha256=entry["hashes"]["sha256"],
        size_bytes=size_bytes,
        max_bytes=2 * estimated_bytes + UNTOLD_BYTES if size_bytes is None else size_bytes,
    )
    if not re.fullmatch(r"[\w.+!-]+\.whl", wheel.file_name):
        raise ValueError(f"{wheel.file_name!r} is no name of a wheel")
    return wheel


def platform_name() -> str:
    """This machine as the lock files call it."""
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    machine = platform.machine().lower()
    return f"{system}-{'x86_64' if machine in ('amd64', 'x86_64') else machine}"


def lock_path(build: str, python_version: str) -> Path:
    """Where the lock file for this machine lies, if there is one."""
    version = python_version.replace(".", "")
    return HERE / "locks" / f"pylock.{platform_name()}-{build}-py{version}.toml"


def locked_pythons(build: str) -> list[str]:
    """Versions of Python for which there is a lock file, the oldest first."""
    names = (HERE / "locks").glob(f"pylock.{platform_name()}-{build}-py3*.toml")
    return sorted(
        (re.sub(r".*-py(\d)(\d+)\.toml", r"\1.\2", path.name) for path in names),
        key=lambda version: int(version.split(".")[1]),
    )


def torch_build(device: str) -> str:
    """The build of PyTorch: `cuda` where asked for, or where a GPU with a fit driver answers."""
    is_mac = platform.system() == "Darwin"
    if device == "mps" and not is_mac:
        raise InstallError(
            "option", "The device mps was asked for; only Macs have it.", hint="Leave --device out."
        )
    if device == "cuda" and is_mac:
        raise InstallError(
            "option", "The device cuda was asked for; Macs have none.", hint="Leave --device out."
        )
    if device == "auto":
        gpu = nvidia_gpu()
        return "cuda" if gpu is not None and gpu.is_driver_fit else "cpu"
    return "cuda" if device == "cuda" else "cpu"


@dataclass(frozen=True, kw_only=True)
class NvidiaGpu:
    """The first graphics card that NVIDIA's driver knows of."""

    name: str
    driver: str
    MIN_DRIVER = 580
    """CUDA 13, which the locked builds of PyTorch are made for, needs it."""

    @property
    def is_driver_fit(self) -> bool:
        return int(self.driver.split(".")[0]) >= self.MIN_DRIVER


def nvidia_gpu() -> NvidiaGpu | None:
    """What `nvidia-smi` says; None where there is no card or no driver."""
    query = ["nvidia-smi", "--query-gpu=name,driver_version", "--format=csv,noheader"]
    try:
        answer = subprocess.check_output(
            query, text=True, timeout=120, stderr=subprocess.DEVNULL, env=child_environment()
        )
        name, driver = answer.splitlines()[0].rsplit(", ", 1)
        int(driver.split(".")[0])  # anything but a version is no answer
        return NvidiaGpu(name=name, driver=driver)
    except (OSError, ValueError, IndexError, subprocess.SubprocessError):
        return None


def choose_python(python: str | None, build: str) -> tuple[str | None, str]:
    """The base interpreter and its version: as named, else the running one, else one of uv's."""
    versions = locked_pythons(build)
    if not versions:
        names = (path.name for path in (HERE / "locks").glob("pylock.*.toml"))
        kinds = sorted({re.sub(r"pylock\.(.*)-(\w+)-py\d+\.toml", r"\1 (\2)", n) for n in names})
        raise InstallError(
            "preflight",
            f"Nothing is locked for {platform_name()} with the {build} build of PyTorch, only for "
            f"{', '.join(kinds)}.",
            hint="Point the add-on at a Python of your own that has the [pipeline] packages.",
        )
    candidate = python or sys.executable
    version = interpreter_version(candidate)
    if version in versions:
        return candidate, version
    if python:
        raise InstallError(
            "option",
            f"Expected Python {', '.join(versions)}, got {version} ({python}).",
            hint="Name another with --python, or leave it out: uv brings its own.",
        )
    return None, versions[0]


def interpreter_version(python: str) -> str:
    """`major.minor` of an interpreter; an error if it does not run or is too old."""
    code = "import sys; print('%d.%d' % sys.version_info[:2])"
    try:
        version = subprocess.check_output(
            [python, "-I", "-c", code], text=True, timeout=300, env=child_environment()
        ).strip()
        found = tuple(map(int, version.split(".")))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InstallError(
            "option",
            f"Expected --python to be a Python interpreter, but {python} did not run: {error}.",
            hint="Give the full path of a Python 3.11 or newer.",
        ) from error
    if found < (3, 11):
        raise InstallError(
            "option",
            f"Expected Python 3.11 or newer, got {version} ({python}).",
            hint="Install Python 3.11 and name it with --python.",
        )
    return version


# --- Preflight: what can be known before anything is downloaded ---------------------------------


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at; `status` is `ok`, `warning` or `error`."""

    name: str
    status: str
    found: str
    hint: str = ""

    @classmethod
    def judged(cls, name: str, found: str, *, error: str = "", warning: str = "") -> Finding:
        """`ok`, unless there is a hint what to do about an error or a warning."""
        status = "error" if error else "warning" if warning else "ok"
        return cls(name=name, status=status, found=found, hint=error or warning)


MIN_MEMORY_GB, GOOD_MEMORY_GB = 3, 6
WINDOWS_MAX_TARGET_CHARACTERS = 100
"""The longest path inside an environment has about 150 more; Windows allows 260 in all."""


def preflight(plan: Plan, *, wheelhouse: Path | None) -> list[Finding]:
    """Look at the machine; writes nothing but a probe."""
    return [
        _python_finding(plan, wheelhouse),
        _packages_finding(plan),
        _device_finding(plan),
        _disk_finding(plan.target, needed_bytes(plan, wheelhouse)),
        _memory_finding(),
        _writable_finding(plan.target.parent),
        _path_finding(plan.target),
        _network_finding(plan, wheelhouse),
    ]


def wheelhouse_preflight(plan: Plan, lock: Lock, total_bytes: int, needed: int) -> list[Finding]:
    """As `preflight`, for a folder of wheels: `plan.target`."""
    found = f"{len(lock.wheels)} locked ({lock.name}) and uv: {total_bytes / 1e6:.0f} MB"
    return [
        Finding.judged("packages", found),
        _disk_finding(plan.target, needed),
        _writable_finding(plan.target.parent, plan.target),
        _network_finding(plan, None),
    ]


def _python_finding(plan: Plan, wheelhouse: Path | None) -> Finding:
    found, hint = f"Python {plan.python_version}: {plan.python or 'to be brought by uv'}", ""
    if plan.python is None and wheelhouse:
        hint = "A wheelhouse holds no Python: install that one, or name it with --python."
    return Finding.judged("python", found, warning=hint)


def _packages_finding(plan: Plan) -> Finding:
    parts = []
    if plan.lock:
        lock, doubt = plan.lock, ""
        if lock.unmeasured:
            doubt = (
                f" (size not known of {', '.join(lock.unmeasured)}: "
                f"{lock.estimated_bytes / 1e6:.0f} MB are reckoned with)"
            )
        parts.append(
            f"{len(lock.wheels)} locked ({lock.name}): "
            f"{plan.download_bytes / 1e6:.0f} MB to download{doubt}, "
            f"{plan.installed_bytes / 1e6:.0f} MB installed"
        )
    if plan.unlocked:
        parts.append(f"{len(plan.unlocked)} for pip to find")
    return Finding.judged("packages", "; ".join(parts))


def _device_finding(plan: Plan) -> Finding:
    gpu = nvidia_gpu()
    found, hint = f"{plan.device} build of PyTorch" if plan.device else "no PyTorch", ""
    if gpu is None:
        found += "; no NVIDIA GPU answers"
        if plan.device == "cuda":
            hint = "Install NVIDIA's driver, or choose --device cpu."
    else:
        found += f"; {gpu.name}, driver {gpu.driver}"
        if plan.device and not gpu.is_driver_fit:
            hint = (
                f"Update NVIDIA's driver to {gpu.MIN_DRIVER} or newer and install again to use it."
            )
    return Finding.judged("device", found, warning=hint)


def needed_bytes(plan: Plan, wheelhouse: Path | None) -> int:
    """Free space that the installation takes at its peak, beside what is there already."""
    if plan.lock is None:
        return 0
    work = Workplace.of(plan.target)
    have = bytes_there(work.wheels, plan.lock)
    have += folder_bytes(managed_pythons(plan.target))
    download = 0 if wheelhouse else max(plan.download_bytes - have, 0)
    return download + max(plan.installed_bytes - folder_bytes(work.environment), 0)


def bytes_there(folder: Path, lock: Lock) -> int:
    """Of the lock's wheels, whole or in part."""
    wheels = (*lock.wheels, *([lock.uv] if lock.uv else []))
    files = [folder / wheel.file_name for wheel in wheels]
    return sum(_size(path) + _size(path.with_name(f"{path.name}.part")) for path in files)


def _disk_finding(target: Path, needed: int) -> Finding:
    folder = next(p for p in (target, *target.parents) if p.is_dir())
    free = shutil.disk_usage(folder).free
    found = f"{free / 1e9:.1f} GB free at {folder}, {needed / 1e9:.1f} GB needed"
    hint = "Free some space, or choose a folder on another disk." if free < needed else ""
    return Finding.judged("disk", found, error=hint)


def memory_bytes() -> int | None:
    """Of the whole machine; None where it cannot be asked."""
    if os.name == "nt":
        import ctypes

        status = (ctypes.c_ulonglong * 8)(64)  # MEMORYSTATUSEX; the second field is the total
        is_answered = ctypes.windll.kernel32.GlobalMemoryStatusEx(status)  # type: ignore[attr-defined]
        return int(status[1]) if is_answered else None
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return None


def _memory_finding() -> Finding:
    size = memory_bytes()
    if size is None:
        return Finding.judged("memory", "unknown")
    found = f"{size / 1e9:.1f} GB"
    if size < MIN_MEMORY_GB * 1e9:
        hint = f"PyTorch and a conversion need {MIN_MEMORY_GB} GB."
        return Finding.judged("memory", found, error=hint)
    hint = "Close other programs while converting." if size < GOOD_MEMORY_GB * 1e9 else ""
    return Finding.judged("memory", found, warning=hint)


def _writable_finding(*wanted: Path) -> Finding:
    for path in wanted:
        folder = next(p for p in (path, *path.parents) if p.is_dir())
        try:
            with tempfile.TemporaryFile(dir=folder):
                pass
        except OSError as error:
            hint = "Choose a folder inside one that you may write to."
            return Finding.judged("write permission", f"{folder}: {error.strerror}", error=hint)
    return Finding.judged("write permission", str(folder))


def _path_finding(target: Path) -> Finding:
    length, hint = len(str(target)), ""
    if os.name == "nt" and length > WINDOWS_MAX_TARGET_CHARACTERS:
        hint = "Choose a shorter --target, such as one right in your user folder."
    return Finding.judged("path length", f"{length} characters", warning=hint)


def _network_finding(plan: Plan, wheelhouse: Path | None) -> Finding:
    if wheelhouse is not None:
        return Finding.judged("network", f"not used; wheels from {wheelhouse}")
    proxies = {k: v for k, v in urllib.request.getproxies().items() if k in ("http", "https")}
    found = ", ".join(f"{kind} proxy {address}" for kind, address in sorted(proxies.items()))
    indexes = ", ".join(PipConfiguration.read(plan.python).indexes)
    return Finding.judged(
        "network", without_credentials(f"{found or 'no proxy'}; index: {indexes or 'pypi.org'}")
    )


# --- Downloads: resumed, checked, several at once -----------------------------------------------

CHUNK_BYTES = 1 << 18
CONCURRENT_DOWNLOADS = 4
PARTIAL_CONTENT, RANGE_REFUSED = 206, 416
RETRY_STATUSES = (408, 429, 500, 502, 503, 504)
STORAGE_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO)


@dataclass(frozen=True, kw_only=True)
class Patience:
    """With the network."""

    timeout_s: float = 30.0
    """Without a byte."""
    retries: int = 4
    """In a row without progress; the waits between them double, from one second on."""


@dataclass(frozen=True, kw_only=True)
class PipConfiguration:
    """Where pip looks for packages on this machine: a mirror, a folder of wheels."""

    indexes: tuple[str, ...]
    is_default_replaced: bool
    """Its index stands in for pypi.org, rather than beside it."""
    folders: tuple[Path, ...]

    @classmethod
    def read(cls, python: str | None) -> PipConfiguration:
        """From pip's files and variables, as pip itself reads them; nothing without pip."""
        command = [python or sys.executable, "-m", "pip", "config", "list"]
        try:
            listed = subprocess.check_output(
                command,
                text=True,
                timeout=300,
                stderr=subprocess.DEVNULL,
                env=child_environment(),
            )
        except (OSError, ValueError, subprocess.SubprocessError):
            listed = ""
        values: dict[str, list[str]] = {}
        for scope in ("global", "install", ":env:"):
            for key, value in re.findall(rf"^{scope}\.([\w-]+)='(.*)'$", listed, re.MULTILINE):
                values[key] = value.replace("\\n", " ").split()
        own = [index for index in values.get("index-url", []) if "//pypi.org/" not in index]
        folders = [
            urllib.request.url2pathname(v.removeprefix("file://"))
            for v in values.get("find-links", [])
        ]
        return cls(
            indexes=(*own, *values.get("extra-index-url", [])),
            is_default_replaced=bool(own),
            folders=tuple(Path(folder) for folder in folders if Path(folder).is_dir()),
        )


class Downloader:
    """Brings wheels into a folder; what is there already and right is not fetched again."""

    def __init__(
        self, folder: Path, configuration: PipConfiguration, emit: Emit, network: Patience
    ) -> None:
        self._folder, self._configuration, self._emit = folder, configuration, emit
        self._network = network
        self._lock = threading.Lock()
        self._is_stopped = threading.Event()
        self._done_bytes = self._total_bytes = 0
        self._told_s = 0.0

    def fetch(self, wheels: Sequence[Wheel]) -> list[Path]:
        """The paths of the wheels, all of them checked."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._total_bytes = sum(wheel.size_bytes or 0 for wheel in wheels)
        pool = ThreadPoolExecutor(CONCURRENT_DOWNLOADS)
        try:
            return list(pool.map(self._fetch_one, wheels))
        finally:
            with self._lock:  # after this nothing is told any more
                self._is_stopped.set()
            pool.shutdown(wait=False, cancel_futures=True)

    def _fetch_one(self, wheel: Wheel) -> Path:
        path = self._folder / wheel.file_name
        if is_intact(path, wheel):
            self._count(wheel.size_bytes or 0)
            return path
        for folder in self._configuration.folders:
            if is_intact(folder / wheel.file_name, wheel):
                with written_whole(path) as part:
                    shutil.copyfile(folder / wheel.file_name, part)
                self._count(wheel.size_bytes or 0)
                return path
        problem: InstallError | None = None
        for url in self._addresses(wheel):
            try:
                self._download(url, wheel, path)
                return path
            except InstallError as error:
                problem = error
        assert problem is not None
        raise problem

    def _addresses(self, wheel: Wheel) -> Iterator[str]:
        """Where the wheel may be had, in the order in which to ask."""
        if not self._configuration.is_default_replaced:
            yield wheel.url
        for index in self._configuration.indexes:
            if url := find_in_index(index, wheel, self._network.timeout_s):
                yield url
        if self._configuration.is_default_replaced:
            yield wheel.url

    def _download(self, url: str, wheel: Wheel, path: Path) -> None:
        part = path.with_name(f"{path.name}.part")
        self._count(_size(part))
        failures = 0
        while True:
            before = _size(part)
            try:
                self._receive(url, wheel, part)
                if is_intact(part, wheel):
                    part.replace(path)
                    return
                problem = "what came does not have the SHA-256 of the lock file"
                self._discard(part)
                failures = max(failures, self._network.retries - 1)  # once more, not often
            except urllib.error.HTTPError as error:
                problem = f"the server answers {error.code} {error.reason}"
                if error.code == RANGE_REFUSED:
                    self._discard(part)
                elif error.code not in RETRY_STATUSES:
                    failures = self._network.retries
            except (OSError, HTTPException) as error:
                if isinstance(error, OSError) and error.errno in STORAGE_ERRORS:
                    raise
                problem = str(getattr(error, "reason", None) or error)
            failures = 0 if _size(part) > before else failures + 1
            if failures > self._network.retries:
                raise InstallError(
                    "download",
                    f"Could not download {url}: {problem}.",
                    hint="Check the connection and run the same again: it goes on where it was. "
                    "Without a connection, use a folder of wheels (--wheelhouse; in Blender, "
                    "Local Files).",
                )
            if self._is_stopped.wait(2.0 ** (failures - 1) if failures else 0.0):
                raise KeyboardInterrupt

    def _receive(self, url: str, wheel: Wheel, part: Path) -> None:
        """Append to what is there of the file, if the server can, until the answer ends."""
        have = _size(part)
        if have and is_intact(part, wheel):
            return
        headers = {"Range": f"bytes={have}-"} if have else {}
        with open_url(url, headers, self._network.timeout_s) as answer:
            if "text/html" in answer.headers.get("Content-Type", ""):
                raise OSError("a web page came instead of the file")
            if have and answer.status != PARTIAL_CONTENT:
                self._discard(part)
                have = 0
            with part.open("ab") as file:
                while chunk := answer.read1(CHUNK_BYTES):  # what is there, without waiting
                    if self._is_stopped.is_set():
                        raise KeyboardInterrupt
                    file.write(chunk)
                    have += len(chunk)
                    self._count(len(chunk))
                    if have > wheel.max_bytes:
                        return  # whatever it is, its hash is another
        if wheel.size_bytes is not None and have < wheel.size_bytes:
            raise OSError(f"the connection ended after {have} of {wheel.size_bytes} bytes")

    def _discard(self, part: Path) -> None:
        self._count(-_size(part))
        part.unlink(missing_ok=True)

    def _count(self, number_bytes: int) -> None:
        with self._lock:
            if self._is_stopped.is_set():
                return
            self._done_bytes += number_bytes
            is_last = self._done_bytes >= self._total_bytes
            if not is_last and time.monotonic() - self._told_s < 0.2:
                return
            self._told_s = time.monotonic()
            step = min(self._done_bytes, self._total_bytes)
            self._emit(
                {"type": "progress", "stage": "download", "step": step, "steps": self._total_bytes}
            )


def open_url(url: str, headers: dict[str, str], timeout_s: float) -> Any:
    """The answer to a GET; a name and password in the address become a header, which is for that
    server alone and goes nowhere that it redirects to.
    """
    parts = urllib.parse.urlsplit(url)
    bare = parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl()
    request = urllib.request.Request(bare, headers=headers)
    if parts.username is not None:
        user, password = (urllib.parse.unquote(v or "") for v in (parts.username, parts.password))
        secret = base64.b64encode(f"{user}:{password}".encode()).decode()
        request.add_unredirected_header("Authorization", f"Basic {secret}")
    return urllib.request.urlopen(request, timeout=timeout_s)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def is_intact(path: Path, wheel: Wheel) -> bool:
    """The file is there and has the wheel's SHA-256."""
    if not path.is_file() or wheel.size_bytes not in (None, path.stat().st_size):
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest() == wheel.sha256


@contextlib.contextmanager
def written_whole(path: Path) -> Iterator[Path]:
    """Where to write a file that gets its name only when all of it is there."""
    part = path.with_name(f"{path.name}.part")
    yield part
    part.replace(path)


def find_in_index(index: str, wheel: Wheel, timeout_s: float) -> str | None:
    """The address of a wheel in a package index (PEP 503 or 691); None: it has no such file."""
    page = f"{index.rstrip('/')}/{wheel.name}/"
    accept = "application/vnd.pypi.simple.v1+json, text/html;q=0.5"
    address = f"{page}index.html" if page.startswith("file:") else page
    try:
        with open_url(address, {"Accept": accept}, timeout_s) as answer:
            text = answer.read(50_000_000).decode("utf-8", "replace")
        for link in re.findall(r'(?:href=|"url":\s*)"([^"]+)"', text):
            url = urllib.parse.urljoin(page, link.split("#")[0].replace("&amp;", "&"))
            if urllib.parse.unquote(url.rsplit("/", 1)[-1]) == wheel.file_name:
                return url
    except (OSError, HTTPException, ValueError):  # ValueError: what is written is no address
        pass
    return None


# --- Child processes ----------------------------------------------------------------------------

INHERITED_VARIABLES = re.compile(
    r"PATH|HOME|LANG|LC_\w+|TMP|TEMP|TMPDIR|XDG_\w+|(HTTPS?|ALL|NO)_PROXY|SSL_CERT_(FILE|DIR)"
    r"|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|PIP_\w+|UV_(?!\w*(?:INDEX|PUBLISH))\w+"
    r"|OMP_NUM_THREADS|CUDA_\w+|LD_LIBRARY_PATH"
    r"|SYSTEM(ROOT|DRIVE)|WINDIR|COMSPEC|PATHEXT|USERPROFILE|(LOCAL)?APPDATA|PROGRAM\w+"
    r"|PROCESSOR_\w+|NUMBER_OF_PROCESSORS",
    re.IGNORECASE,
)


def child_environment(**more: str) -> dict[str, str]:
    """What a child process needs of our environment, and no more."""
    kept = {k: v for k, v in os.environ.items() if INHERITED_VARIABLES.fullmatch(k)}
    return {**kept, "PYTHONUTF8": "1", **more}


class Runner:
    """Runs programs to their end, their output in the log; they end with us if we are ended."""

    def __init__(self, log_path: Path) -> None:
        self._log_path = log_path

    def __call__(
        self,
        command: Sequence[str],
        or_else: str,
        *,
        code: str = "install",
        hint: str = "",
        on_line: Callable[[str], None] = lambda line: None,
        **environment: str,
    ) -> None:
        """Run it; unless it ends with the status 0, `or_else` is an error with its last words."""
        tail: deque[str] = deque(maxlen=15)
        with (
            self._log_path.open("a", encoding="utf-8") as log,
            self._started(command, InstallError(code, or_else, hint=hint), environment) as process,
        ):
            try:
                log.write(f"$ {without_credentials(' '.join(command))}\n")
                for line in process.stdout or ():
                    log.write(without_credentials(line))
                    tail.append(line.rstrip())
                    on_line(line)
                status = process.wait()
            except BaseException:
                process.terminate()
                raise
        if status != 0:
            raise InstallError(
                code,
                f"{or_else} The last lines of its output:\n" + "\n".join(tail),
                hint=hint or f"The whole output is in {self._log_path}; run the same again.",
            )

    @staticmethod
    def _started(
        command: Sequence[str], or_else: InstallError, environment: dict[str, str]
    ) -> subprocess.Popen[str]:
        try:
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=child_environment(**environment),
                close_fds=False,  # nothing but the lock can be inherited
                text=True,
                encoding="utf-8",
                errors="replace",
            )
        except OSError as error:
            raise InstallError(
                or_else.code,
                f"{or_else} {command[0]} does not run: {error.strerror}.",
                hint=or_else.hint or "Run the same again.",
            ) from error


# --- Installation: made beside, verified, then put in place -------------------------------------


LOCK_PATIENCE_S = 3.0
"""What was started by an installer that was killed may take a moment to end."""


@dataclass(frozen=True, kw_only=True)
class Workplace:
    """The folder beside the target in which everything happens until the very end."""

    folder: Path

    @classmethod
    def of(cls, target: Path) -> Workplace:
        return cls(folder=target.with_name(f"{target.name}.work"))

    @property
    def wheels(self) -> Path:
        return self.folder / "wheels"

    @property
    def environment(self) -> Path:
        return self.folder / "environment"

    @property
    def previous(self) -> Path:
        """The environment that was in place, while it is being replaced."""
        return self.folder / "previous"

    @property
    def log(self) -> Path:
        return self.folder / LOG

    @contextlib.contextmanager
    def claimed(self) -> Iterator[None]:
        """Keep a second installer out. The system lets go when this process has ended, however it
        does, and what it has run in the folder: that inherits the lock. A folder that holds
        nothing else is not left behind.
        """
        deadline_s = time.monotonic() + LOCK_PATIENCE_S
        while (file := self._locked()) is None:
            if time.monotonic() > deadline_s:
                raise InstallError(
                    "busy",
                    f"Another installation into {self.folder.with_suffix('')} is running.",
                    hint="Wait for its end, or cancel it.",
                )
            time.sleep(0.1)
        try:
            with file:
                os.set_inheritable(file.fileno(), True)
                try:
                    yield
                finally:
                    if os.name != "nt":
                        self._leave_no_lock()
        finally:
            if os.name == "nt":  # which deletes no open file
                self._leave_no_lock()

    def _locked(self) -> IO[str] | None:
        """The lock; None: somebody else has it, or has just deleted it with the whole folder."""
        with contextlib.ExitStack() as unless_ours, contextlib.suppress(FileNotFoundError):
            self.folder.mkdir(parents=True, exist_ok=True)
            file = unless_ours.enter_context((self.folder / LOCK).open("a"))
            if is_lock_taken(file.fileno()) and is_still_named(file.fileno(), self.folder / LOCK):
                unless_ours.pop_all()
                return file
        return None

    def _leave_no_lock(self) -> None:
        with contextlib.suppress(OSError):
            if [path.name for path in self.folder.iterdir()] == [LOCK]:
                shutil.rmtree(self.folder)

    def clear(self) -> None:
        """Delete all but the lock."""
        for path in self.folder.iterdir():
            if path.is_dir():
                shutil.rmtree(path)
            elif path.name != LOCK:
                path.unlink()


def is_lock_taken(descriptor: int) -> bool:
    """Take the lock of an open file; False: somebody else has it."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
        else:
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EACCES, errno.EDEADLK):
            raise  # there are no locks on this disk, say
        return False
    return True


def is_still_named(descriptor: int, path: Path) -> bool:
    """The open file is the one of that name; Windows deletes none that is open."""
    return os.name == "nt" or os.path.samestat(os.fstat(descriptor), path.stat())


def environment_python(environment: Path) -> Path:
    """The interpreter of an environment."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def managed_pythons(target: Path) -> Path:
    """Where uv keeps the Python that it brings for a target."""
    return target.with_name(f"{target.name}.python")


class Installer:
    """Carries out a plan, stage by stage; every step is reported through `emit`."""

    def __init__(
        self, plan: Plan, emit: Emit, *, wheelhouse: Path | None, tool: str, network: Patience
    ) -> None:
        self.plan, self.emit, self.wheelhouse, self.tool = plan, emit, wheelhouse, tool
        self.network = network
        self.work = Workplace.of(plan.target)
        self.run = Runner(self.work.log)

    def install(self, *, with_conversion: bool) -> dict[str, Any]:
        """Make the environment; the target is touched only when it is ready.

        Returns:
            What `verify` found.
        """
        recover(self.plan.target)
        stage(self.emit, "preflight")
        check_fitness(preflight(self.plan, wheelhouse=self.wheelhouse), self.emit)
        if not self.plan.is_satisfied_by(self.work.environment):
            self._build()
        stage(self.emit, "verify")
        found = verify(self.work.environment, self.plan, self.run, with_conversion=with_conversion)
        stage(self.emit, "replace")
        replace_environment(self.plan.target)
        return found

    def _build(self) -> None:
        stage(self.emit, "download")
        wheels, uv = self._download()
        stage(self.emit, "create_environment")
        shutil.rmtree(self.work.environment, ignore_errors=True)
        if uv:
            self._create_with_uv(uv)
        else:
            self._create_with_venv()
        stage(self.emit, "install")
        if wheels and uv:
            self._install_with_uv(uv, wheels)
        elif wheels:
            self._pip("--no-index", "--no-deps", *map(str, wheels), count=len(wheels))
        if self.plan.unlocked:
            self._pip(*self.plan.unlocked, count=len(self.plan.unlocked))
        repoint_scripts(self.work.environment, self.plan.target)
        with written_whole(self.work.environment / COMPLETE) as part:
            part.write_text(json.dumps(self.plan.contents, indent=1), encoding="utf-8")

    def _download(self) -> tuple[list[Path], str | None]:
        """The locked wheels, and uv if it is to be used."""
        if self.plan.lock is None:
            return [], None
        return self._bring(self.plan.lock.wheels, self.emit), self._find_uv()

    def _bring(self, wheels: Sequence[Wheel], emit: Emit) -> list[Path]:
        """The paths of wheels, all of them checked."""
        if self.wheelhouse:
            return in_wheelhouse(self.wheelhouse, wheels)
        configuration = PipConfiguration.read(self.plan.python)
        return Downloader(self.work.wheels, configuration, emit, self.network).fetch(wheels)

    def _find_uv(self) -> str | None:
        """The program uv: the one on PATH, else from its wheel; None: venv and pip do it."""
        assert self.plan.lock is not None
        if not self.plan.takes_uv:
            return None
        if found := shutil.which("uv"):
            return found
        try:
            if self.plan.lock.uv is None:
                raise InstallError("download", "The lock file names no uv.", hint="")
            (path,) = self._bring([self.plan.lock.uv], lambda event: None)
            return str(unpack_uv(path, self.work.folder))
        except InstallError as error:
            if self.tool == "uv" or self.plan.python is None:
                raise InstallError(
                    "download",
                    f"uv is needed here, but: {error}",
                    hint="Install uv or Python 3.11 and run the same again.",
                ) from error
            return None

    def _create_with_uv(self, uv: str) -> None:
        managed = str(managed_pythons(self.plan.target))
        python = self.plan.python or self.plan.python_version
        command = [uv, "venv", "--relocatable", "--no-project", "--no-config", "--python", python]
        command += ["--offline"] if self.wheelhouse else []
        command.append(str(self.work.environment))
        self.run(command, "uv could not make the environment.", UV_PYTHON_INSTALL_DIR=managed)

    def _install_with_uv(self, uv: str, wheels: Sequence[Path]) -> None:
        python = str(environment_python(self.work.environment))
        command = [uv, "pip", "install", "--offline", "--no-index", "--no-deps", "--no-config"]
        command += ["--cache-dir", str(self.work.folder / "uv-cache"), "--python", python]
        self.run([*command, *map(str, wheels)], "uv could not install the packages.")

    def _create_with_venv(self) -> None:
        if self.plan.python is None:
            raise InstallError(
                "install",
                f"Python {self.plan.python_version} is needed and not there.",
                hint="Install it and name it with --python.",
            )
        command = [self.plan.python, "-m", "venv", str(self.work.environment)]
        hint = "On Debian and Ubuntu install the package python3-venv."
        self.run(command, "The environment could not be made.", hint=hint)

    def _pip(self, *arguments: str, count: int) -> None:
        """Run pip in the environment, counting what it takes up."""
        taken = 0

        def on_line(line: str) -> None:
            nonlocal taken
            if re.match(r"(?:Processing|Collecting|Requirement already satisfied:) ", line):
                taken = min(taken + 1, count)
                self.emit({"type": "progress", "stage": "install", "step": taken, "steps": count})

        python = str(environment_python(self.work.environment))
        pip = [python, "-I", "-m", "pip", "install", "--no-compile", "--no-input"]
        quiet = ["--disable-pip-version-check", "--progress-bar", "off"]
        command = [*pip, *quiet, *arguments]
        self.run(command, "pip could not install the packages.", on_line=on_line)


def stage(emit: Emit, name: str) -> None:
    """Tell that a stage begins."""
    emit({"type": "stage", "name": name, "index": STAGES.index(name), "count": len(STAGES)})


def tell_findings(findings: Sequence[Finding], emit: Emit) -> list[dict[str, str]]:
    """Emit the findings; what was emitted."""
    told = [asdict(finding) for finding in findings]
    emit({"type": "preflight", "findings": told})
    return told


def check_fitness(findings: Sequence[Finding], emit: Emit) -> None:
    """Report the findings; an error if one of them rules the installation out."""
    tell_findings(findings, emit)
    for finding in findings:
        if finding.status == "warning":
            message = f"{finding.name}: {finding.found}. {finding.hint}"
            emit({"type": "warning", "code": "preflight", "message": message})
    if problems := [finding for finding in findings if finding.status == "error"]:
        raise InstallError(
            "preflight",
            "; ".join(f"{finding.name}: {finding.found}" for finding in problems) + ".",
            hint=" ".join(finding.hint for finding in problems),
        )


def in_wheelhouse(folder: Path, wheels: Sequence[Wheel]) -> list[Path]:
    """The paths of the wheels; an error unless each is there and is the right one."""
    paths = [folder / wheel.file_name for wheel in wheels]
    pairs = zip(paths, wheels, strict=True)
    if bad := [path.name for path, wheel in pairs if not is_intact(path, wheel)]:
        raise InstallError(
            "download",
            f"Expected {len(wheels)} wheels in {folder}; missing or damaged: {', '.join(bad[:5])}"
            + (f" and {len(bad) - 5} more." if len(bad) > 5 else "."),
            hint="Make the folder with --make-wheelhouse of the same release, on a machine of the "
            "same kind with the same Python. In Blender, Local Files is taken for that "
            "folder: clear it in the preferences to download the packages.",
        )
    return paths


def unpack_uv(wheel: Path, folder: Path) -> Path:
    """The program out of uv's wheel, which is a zip file."""
    name = "uv.exe" if os.name == "nt" else "uv"
    program = folder / name
    with zipfile.ZipFile(wheel) as archive:
        (entry,) = (n for n in archive.namelist() if n.endswith(f".data/scripts/{name}"))
        program.write_bytes(archive.read(entry))
    program.chmod(0o700)
    return program


def replace_environment(target: Path) -> None:
    """Put the new environment in the old one's place, and tidy up."""
    work = Workplace.of(target)
    refuse_foreign(target)
    if work.log.exists():
        shutil.copyfile(work.log, work.environment / LOG)
    try:
        if target.exists():
            target.rename(work.previous)
        work.environment.rename(target)
    except OSError as error:
        recover(target)
        raise InstallError(
            "output",
            f"The new environment is ready, but the old one cannot be moved: {error}.",
            hint="Close the programs that use it (Blender's worker too) and run the same again: "
            "nothing will be downloaded again.",
        ) from error
    with contextlib.suppress(OSError):
        work.clear()


def recover(target: Path) -> None:
    """Bring an environment back that was set aside by an installer that did not end."""
    previous = Workplace.of(target).previous
    if previous.exists() and not target.exists():
        previous.rename(target)
    shutil.rmtree(previous, ignore_errors=True)


def repoint_scripts(environment: Path, target: Path) -> None:
    """Scripts name the environment's interpreter by its path, which is about to change."""
    old, new = os.fsencode(environment), os.fsencode(target)
    for path in environment_python(environment).parent.iterdir():
        if path.is_file() and not path.is_symlink() and path.suffix != ".exe":
            content = path.read_bytes()
            if old in content and b"\0" not in content:
                path.write_bytes(content.replace(old, new))


def refuse_foreign(target: Path) -> None:
    """An error if the target holds anything but an environment."""
    is_free = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    if not is_free and not any((target / name).is_file() for name in ("pyvenv.cfg", COMPLETE)):
        raise InstallError(
            "option",
            f"Expected an environment or a free path, but {target} holds something else.",
            hint="Choose another --target.",
        )


def remove_environment(target: Path) -> int:
    """Delete an environment and all that belongs to it; the bytes that this frees."""
    work = Workplace.of(target)
    freed = sum(folder_bytes(folder) for folder in belongings(target))
    (target / COMPLETE).unlink(missing_ok=True)
    for folder in (target, managed_pythons(target)):
        if folder.exists():
            shutil.rmtree(folder)
    work.clear()
    return freed


def belongings(target: Path) -> list[Path]:
    """The folders that an environment consists of, and leaves while it is made; those there are."""
    folders = (target, managed_pythons(target), Workplace.of(target).folder)
    return [folder for folder in folders if folder.exists()]


def folder_bytes(folder: Path) -> int:
    """Sizes of all files below a folder; what a link points at is not counted."""
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


# --- Verification -------------------------------------------------------------------------------


def verify(environment: Path, plan: Plan, run: Runner, *, with_conversion: bool) -> dict[str, Any]:
    """The build of torch that was asked for is the one that loads; every stage runs. An environment
    that fails is complete no more: the next run builds another.
    """
    found: dict[str, Any] = {}
    python = str(environment_python(environment))
    try:
        if plan.lock and any(wheel.name == "torch" for wheel in plan.lock.wheels):
            found["torch"] = loaded_torch(python, plan, run)
        if with_conversion:
            found["conversion"] = tiny_conversion(python, run)
    except InstallError:
        with contextlib.suppress(OSError):
            (environment / COMPLETE).unlink(missing_ok=True)
        raise
    return found


def loaded_torch(python: str, plan: Plan, run: Runner) -> str:
    """The version that loads."""
    question = "import torch; print('torch', torch.__version__, 'CUDA', torch.version.cuda)"
    lines: list[str] = []
    problem = "PyTorch was installed but does not load."
    hint = "Run the same again: the packages are installed anew."
    run([python, "-I", "-c", question], problem, code="verify", hint=hint, on_line=lines.append)
    build = next(line.rstrip() for line in lines if line.startswith("torch "))
    if build.endswith("CUDA None") != (plan.device == "cpu"):
        raise InstallError(
            "verify",
            f"Expected PyTorch's {plan.device} build, got {build}.",
            hint="Name the build with --device cpu or --device cuda.",
        )
    return build.split()[1]


def tiny_conversion(python: str, run: Runner) -> dict[str, Any]:
    """A drawn picture becomes a mesh with the preset that ships: the doctor tries each stage."""
    began_s = time.monotonic()
    command = [python, "-s", "-m", "one2345_blender", "doctor"]
    problem = "The packages are there, but a conversion fails."
    hint = "Run the same again: the packages are installed anew. If that does not help, report it "
    hint += "with the lines above."
    run(command, problem, code="verify", hint=hint, PYTHONPATH=str(HERE), PYTHONSAFEPATH="1")
    return {"seconds": round(time.monotonic() - began_s, 1)}


# --- Command line -------------------------------------------------------------------------------


def show_json(event: Event) -> None:
    """One event as one line of JSON."""
    print(json.dumps({"type": event["type"], "job_id": "install", **event}), flush=True)


def show_text(event: Event) -> None:
    """One event as lines for people, steps left out; failures go to stderr."""
    match event["type"]:
        case "stage":
            print(f"[{event['index'] + 1}/{event['count']}] {event['name']}", flush=True)
        case "preflight":
            for finding in event["findings"]:
                print(f"  {finding['status']:8s}{finding['name']}: {finding['found']}", flush=True)
        case "warning":
            print(f"warning: {event['message']}", file=sys.stderr)
        case "result":
            report = event["report"]
            freed = (
                f", {report['freed_bytes'] / 1e6:.0f} MB freed" if "freed_bytes" in report else ""
            )
            print(f"{report['status']}: {report['target']}{freed}")
            if "verified" in report:
                print(f"verified: {report['verified']}")
        case "cancelled":
            print("cancelled: the next run goes on", file=sys.stderr)
        case "error":
            print(f"error: {event['message']}\nhint: {event['hint']}", file=sys.stderr)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; `extras` becomes a list of known names, paths become absolute."""
    summary = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="vendor_install.py", description=summary)
    parser.add_argument("--target", type=_path, metavar="DIR", help="the folder of the environment")
    parser.add_argument(
        "--extras",
        default=LOCKED_EXTRA,
        type=lambda text: text.split(","),
        metavar="NAMES",
        help=f"comma-separated, of {', '.join(EXTRAS)} (default: {LOCKED_EXTRA})",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="build of PyTorch")
    parser.add_argument("--python", metavar="EXE", help="base interpreter (default: this one)")
    parser.add_argument("--tool", choices=TOOLS, default="auto", help="who installs the packages")
    parser.add_argument(
        "--wheelhouse", type=_path, metavar="DIR", help="take the packages from there, no network"
    )
    parser.add_argument(
        "--make-wheelhouse", type=_path, metavar="DIR", help="only download the packages to there"
    )
    parser.add_argument(
        "--timeout", type=_seconds, default=Patience.timeout_s, metavar="S", help="without a byte"
    )
    parser.add_argument(
        "--retries", type=_count, default=Patience.retries, metavar="N", help="of a download"
    )
    parser.add_argument("--json", action="store_true", help="events as JSON lines on stdout")
    parser.add_argument("--dry-run", action="store_true", help="only say what it would cost")
    parser.add_argument("--verify", action="store_true", help="convert a tiny picture as well")
    parser.add_argument("--remove", action="store_true", help="delete the environment")
    options = parser.parse_args(arguments)
    if (options.target is None) == (options.make_wheelhouse is None):
        parser.error("either --target is needed or --make-wheelhouse")
    if unknown := set(options.extras) - set(EXTRAS):
        parser.error(f"--extras: expected names of {', '.join(EXTRAS)}, got {sorted(unknown)}")
    if options.wheelhouse and options.extras != [LOCKED_EXTRA]:
        parser.error(f"--wheelhouse: holds the packages of {LOCKED_EXTRA} alone")
    return options


def _path(text: str) -> Path:
    try:
        return Path(text).expanduser().resolve()
    except (OSError, RuntimeError) as error:  # no such user, links in a circle
        raise argparse.ArgumentTypeError(f"{text}: {error}") from error


def _seconds(text: str) -> float:
    if not 0.0 < float(text) <= 86_400.0:
        raise argparse.ArgumentTypeError(f"expected more than 0 and at most a day, got {text}")
    return float(text)


def _count(text: str) -> int:
    if int(text) < 0:
        raise argparse.ArgumentTypeError(f"expected 0 or more, got {text}")
    return int(text)


def carry_out(options: argparse.Namespace, emit: Emit) -> Event:
    """Do what the options ask; the last event."""
    target: Path = options.target or options.make_wheelhouse
    report: dict[str, Any] = {"target": str(target)}
    work = Workplace.of(target)
    if not options.make_wheelhouse:
        refuse_foreign(target)
    if options.remove:
        freed = 0
        if belongings(target):
            with work.claimed():
                freed = remove_environment(target)
        report |= {"status": "removed", "freed_bytes": freed}
        return {"type": "result", "files": {}, "report": report}
    plan = make_plan(target, options.extras, options.device, options.python, options.tool)
    report |= plan.contents
    if plan.lock:
        report |= {
            "lock_file": plan.lock.name,
            "download_bytes": plan.download_bytes,
            "needed_bytes": needed_bytes(plan, options.wheelhouse),
        }
    files = {"python": str(environment_python(target))}
    network = Patience(timeout_s=options.timeout, retries=options.retries)
    if options.make_wheelhouse:
        files = {"wheelhouse": str(target)}
        report |= make_wheelhouse(plan, emit, network, is_dry_run=options.dry_run)
    elif options.dry_run:
        report["preflight"] = tell_findings(preflight(plan, wheelhouse=options.wheelhouse), emit)
        report["status"] = "complete" if plan.is_satisfied_by(target) else "planned"
    elif plan.is_satisfied_by(target):
        report["status"] = "complete"
        if work.folder.exists():  # an installer that was killed while it tidied up
            with contextlib.suppress(InstallError, OSError), work.claimed():
                work.clear()
        if options.verify:
            with tempfile.TemporaryDirectory() as folder:
                runner = Runner(Path(folder) / LOG)
                report["verified"] = verify(target, plan, runner, with_conversion=True)
    else:
        installer = Installer(
            plan, emit, wheelhouse=options.wheelhouse, tool=options.tool, network=network
        )
        with work.claimed():
            report["verified"] = installer.install(with_conversion=options.verify)
        report["status"] = "installed"
    return {"type": "result", "files": files, "report": report}


def make_wheelhouse(
    plan: Plan, emit: Emit, network: Patience, *, is_dry_run: bool
) -> dict[str, Any]:
    """Download the wheels of the lock file, and uv's, into the folder `plan.target`.

    Returns:
        What the report says of it.
    """
    folder, lock = plan.target, plan.lock
    if lock is None:
        raise InstallError(
            "option", "A wheelhouse holds the locked packages.", hint="Leave --extras out."
        )
    wheels = [*lock.wheels, *([lock.uv] if lock.uv else [])]
    total_bytes = lock.estimated_bytes + sum(wheel.size_bytes or 0 for wheel in wheels)
    needed = max(total_bytes - bytes_there(folder, lock), 0)
    findings = wheelhouse_preflight(plan, lock, total_bytes, needed)
    costs = {"download_bytes": total_bytes, "needed_bytes": needed}
    if is_dry_run:
        return {"status": "planned", "preflight": tell_findings(findings, emit), **costs}
    stage(emit, "preflight")
    check_fitness(findings, emit)
    with Workplace.of(folder).claimed():
        stage(emit, "download")
        configuration = PipConfiguration.read(plan.python)
        paths = Downloader(folder, configuration, emit, network).fetch(wheels)
    size_bytes = sum(path.stat().st_size for path in paths)
    return {"status": "wheelhouse", "wheels": len(paths), "bytes": size_bytes, **costs}


def main(arguments: Sequence[str] | None = None) -> int:
    """Carry out the command line; the exit status (see the top of this file)."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    show = show_json if options.json else show_text

    def emit(event: Event) -> None:
        try:
            show(event)
        except OSError as error:  # nobody listens any more: Blender was killed, say
            raise KeyboardInterrupt from error

    os.umask(0o077)  # what is made here is its user's alone
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        return carry_out_and_tell(options, emit)
    except KeyboardInterrupt:
        with contextlib.suppress(KeyboardInterrupt):
            emit({"type": "cancelled"})
        os._exit(130)  # without waiting for downloads that wait for the network


def carry_out_and_tell(options: argparse.Namespace, emit: Emit) -> int:
    """Do what the options ask, down to the last event; the exit status."""
    try:
        emit(carry_out(options, emit))
        return 0
    except InstallError as error:
        failure = error
    except OSError as error:
        hint = "Check free space and permissions of the target folder, and run the same again."
        failure = InstallError("output", f"Could not write: {error}.", hint=hint)
    log = Workplace.of(options.target).log if options.target else None
    event = {"type": "error", "code": failure.code, "message": str(failure), "hint": failure.hint}
    emit({**event, "detail_path": str(log) if log and log.exists() else None})
    return EXIT_STATUS.get(failure.code, 1)


if __name__ == "__main__":
    sys.exit(main())
