# SPDX-License-Identifier: GPL-3.0-or-later
"""A release in small: the real installer beside a lock file of tiny wheels made on the fly."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import os
import platform
import random
import shutil
import signal
import subprocess
import sys
import time
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from one2345_blender.contracts.messages import EVENTS, TERMINAL_EVENTS, decode_line

SCRIPT = Path(__file__).resolve().parents[1] / "vendor_install.py"
PAYLOAD_BYTES = 400_000
PATIENCE = ("--timeout", "1", "--retries", "1")
TORCH = "version = type('version', (), {'cuda': None})\n__version__ = '1.0+cpu'\n"
"""What the installer asks of PyTorch: which build it is."""


def wheel(name: str, version: str, modules: dict[str, bytes], scripts: str = "") -> bytes:
    """A wheel in pure Python, as a zip file."""
    info = f"{name}-{version}.dist-info"
    files = {
        **modules,
        f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode(),
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[console_scripts]\n{scripts}\n".encode(),
    }
    record = "".join(
        f"{path},sha256={_urlsafe(content)},{len(content)}\n" for path, content in files.items()
    )
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        for path, content in {**files, f"{info}/RECORD": record.encode()}.items():
            archive.writestr(zipfile.ZipInfo(path), content)
    return stream.getvalue()


def _urlsafe(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()


@dataclass(frozen=True)
class TinyRelease:
    """The folder of a release whose lock file points at `base_url`."""

    folder: Path
    wheels: dict[str, bytes]
    """By file name."""

    @classmethod
    def make(
        cls,
        folder: Path,
        base_url: str,
        version: str = "1.0",
        *,
        are_sizes_known: bool = True,
        estimated_bytes: int | None = None,
    ) -> TinyRelease:
        """Write it.

        Args:
            estimated_bytes: What wheels of unknown size are said to come to; None: the truth.
        """
        payload = random.Random(version).randbytes(PAYLOAD_BYTES)
        main = f"def main():\n    print('tiny {version}')\n".encode()
        modules = {"tiny/__init__.py": main, "tiny/payload.bin": payload}
        wheels = {
            f"tiny-{version}-py3-none-any.whl": wheel("tiny", version, modules, "tiny = tiny:main"),
            "torch-1.0-py3-none-any.whl": wheel(
                "torch", "1.0", {"torch/__init__.py": TORCH.encode()}
            ),
        }
        (folder / "locks").mkdir(parents=True, exist_ok=True)
        shutil.copy(SCRIPT, folder)
        (folder / "pyproject.toml").write_text(
            '[project]\nname = "tiny-release"\n[project.optional-dependencies]\n'
            f'pipeline = ["tiny=={version}"]\n'
        )
        lock = 'lock-version = "1.0"\ncreated-by = "a test"\n'
        for file_name, content in wheels.items():
            name, number = file_name.split("-")[:2]
            digest = hashlib.sha256(content).hexdigest()
            lock += f'[[packages]]\nname = "{name}"\nversion = "{number}"\n'
            size = f"size = {len(content)}, " if are_sizes_known else ""
            lock += f'wheels = [{{url = "{base_url}/{file_name}", {size}'
            lock += f'hashes = {{sha256 = "{digest}"}}}}]\n'
        total = sum(map(len, wheels.values()))
        lock += f"[tool.one2345]\ninstalled-bytes = {3 * total}\n"
        estimated = total if estimated_bytes is None else estimated_bytes
        lock += "" if are_sizes_known else f"estimated-bytes = {estimated}\n"
        (folder / "locks" / lock_name()).write_text(lock)
        return cls(folder, wheels)

    @property
    def payload_wheel(self) -> str:
        """Name of the large one."""
        return next(name for name in self.wheels if name.startswith("tiny"))

    def write_wheels(self, folder: Path) -> Path:
        """A wheelhouse."""
        folder.mkdir(exist_ok=True)
        for name, content in self.wheels.items():
            (folder / name).write_bytes(content)
        return folder

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[bytes]:
        """The installer as a process; it knows none of this machine's package indexes."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("PIP_", "UV_"))}
        return subprocess.Popen(
            [sys.executable, str(self.folder / SCRIPT.name), *PATIENCE, *arguments, "--json"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**clean, "PIP_CONFIG_FILE": os.devnull, **environment},
        )

    def run(self, *arguments: str, **environment: str) -> tuple[int, list[dict[str, Any]]]:
        """Exit status and events, each of which the client can read, exactly one of them last."""
        process = self.start(*arguments, **environment)
        stdout, stderr = process.communicate(timeout=300)
        lines = stdout.splitlines()
        events = [event for line in lines if (event := decode_line(line, EVENTS)) is not None]
        last = [event["type"] in TERMINAL_EVENTS for event in events]
        assert last.count(True) == 1 and last[-1], (stdout, stderr)
        return process.returncode, events


def lock_name() -> str:
    """Of the machine that runs the tests."""
    system = {"Darwin": "macos"}.get(platform.system(), platform.system().lower())
    machine = {"amd64": "x86_64"}.get(platform.machine().lower(), platform.machine().lower())
    return f"pylock.{system}-{machine}-cpu-py{sys.version_info[0]}{sys.version_info[1]}.toml"


def end_at_stage(process: subprocess.Popen[bytes], stage: str, number: signal.Signals) -> None:
    """Send a signal as soon as the installer tells that a stage begins."""
    assert process.stdout is not None
    for line in process.stdout:
        if json.loads(line).get("name") == stage:
            break
    process.send_signal(number)


def wait_for(condition: Any, timeout_s: float = 60.0) -> None:
    """Until something is true; an error if it takes too long."""
    deadline_s = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline_s, "it did not come true in time"
        time.sleep(0.02)
