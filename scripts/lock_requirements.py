# SPDX-License-Identifier: GPL-3.0-or-later
"""Write the lock files that vendor_install.py installs from: `locks/pylock.*.toml`.

One for each platform, build of PyTorch and version of Python, in the standard form (PEP 751), with
exactly one wheel per package: address, SHA-256, and the size where it is known. Under
`[tool.one2345]` stand the size that all of them have once installed, what those of unknown size
come to, about, and the wheel of uv for that platform. Needs uv on PATH and the
network: run `make locks` after a change of the `pipeline` requirements.
"""

from __future__ import annotations

import io
import json
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import urllib.request
import zipfile
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ROOT / "locks"
UV_VERSION = "0.13.9"
PYTHONS = ("3.11", "3.12", "3.13")
PLATFORMS = {
    # ours: (uv's name, part of the file name of uv's own wheel)
    "linux-x86_64": ("x86_64-manylinux_2_28", "manylinux_2_17_x86_64"),
    "windows-x86_64": ("x86_64-pc-windows-msvc", "win_amd64"),
    "linux-aarch64": ("aarch64-manylinux_2_28", "manylinux_2_17_aarch64"),
    "macos-arm64": ("aarch64-apple-darwin", "macosx_11_0_arm64"),
}
CONSTRAINTS = "numpy<2; python_version < '3.12'"
"""The NumPy of Blender 4.5 and its Python module: one environment can hold both."""
CUDA_PACKAGES = r"nvidia-.*|cuda-.*|triton"

PYTORCH = "https://download.pytorch.org/whl"
LABELLED_TORCH: dict[tuple[str, str, str], dict[str, Any]] = {
    # builds that only PyTorch's own index has; elsewhere PyPI's wheel is the right one
    ("linux-x86_64", "cpu", "3.11"): {
        "url": f"{PYTORCH}/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_x86_64.whl",
        "size": 191_794_682,
        "sha256": "6746dbcbeb526eb61330b76b41ff1b4eb848951103a892eeb080dfa2b264667b",
    },
    ("linux-x86_64", "cpu", "3.12"): {
        "url": f"{PYTORCH}/cpu/torch-2.13.0%2Bcpu-cp312-cp312-manylinux_2_28_x86_64.whl",
        "size": 191_817_609,
        "sha256": "4ca4a9394b0c771238a4f73590fdbbc4debad85ed0fa63d026ae1b085da7d6e2",
    },
    ("linux-x86_64", "cpu", "3.13"): {
        "url": f"{PYTORCH}/cpu/torch-2.13.0%2Bcpu-cp313-cp313-manylinux_2_28_x86_64.whl",
        "size": 191_815_667,
        "sha256": "3fbf9c9d1f3c10c2d59d04aca426dee9ccc6ceb32d255c61e93acc3b4f75fae6",
    },
    ("linux-aarch64", "cpu", "3.11"): {
        "url": f"{PYTORCH}/cpu/torch-2.13.0%2Bcpu-cp311-cp311-manylinux_2_28_aarch64.whl",
        "sha256": "84453b69508ec79902f899c5ed9495acb9e2bbe9fda5f1d5d6f19e3c3842e1a7",
    },
    ("linux-aarch64", "cpu", "3.12"): {
        "url": f"{PYTORCH}/cpu/torch-2.13.0%2Bcpu-cp312-cp312-manylinux_2_28_aarch64.whl",
        "size": 155_005_253,
        "sha256": "6f307c2c32d764ffc6ff6893b801fad6d4752f3e67966cb8abf1843427c02604",
    },
    ("linux-aarch64", "cpu", "3.13"): {
        "url": f"{PYTORCH}/cpu/torch-2.13.0%2Bcpu-cp313-cp313-manylinux_2_28_aarch64.whl",
        "sha256": "0b8f7d0423027ae8b90c7977c627f3379f325363a08224dffad9b4b2d684a83d",
    },
    ("windows-x86_64", "cuda", "3.13"): {
        "url": f"{PYTORCH}/cu130/torch-2.13.0%2Bcu130-cp313-cp313-win_amd64.whl",
        "size": 1_915_517_499,
        "sha256": "cf23236e9deed7d3510d14d9b9592d75d272ef7b35bbfee31a02bea339c73971",
    },
}
ESTIMATED_TORCH_BYTES = 155_000_000
"""Of a wheel above whose size is not known: that of another for the same platform."""
UNPACKED_TORCH_BYTES = {"cpu": 699_298_109, "cu130": 5_000_000_000}
"""Of the wheels above; PyTorch's server may not be within reach where this runs. The first is that
of the wheel for Linux on x86_64 with Python 3.11, the second a guess that is rather too high."""
TARGETS = [
    *((platform, "cpu", python) for platform in PLATFORMS for python in PYTHONS),
    *(
        (f"linux-{machine}", "cuda", python)
        for machine in ("x86_64", "aarch64")
        for python in PYTHONS
    ),
    ("windows-x86_64", "cuda", "3.13"),
]


def main() -> int:
    LOCKS.mkdir(exist_ok=True)
    for platform, device, python in TARGETS:
        name = f"pylock.{platform}-{device}-py{python.replace('.', '')}.toml"
        packages = resolve(platform, device, python)
        uv = uv_wheel(PLATFORMS[platform][1])
        text = document(packages, python, uv)
        tomllib.loads(text)
        (LOCKS / name).write_text(text, encoding="utf-8")
        known = sum(package["wheel"].get("size", 0) for package in packages)
        print(f"{name}: {len(packages)} packages, {known / 1e6:.0f} MB")
    return 0


def resolve(platform: str, device: str, python: str) -> list[dict[str, Any]]:
    """Name, version and the one wheel of each package of the `pipeline` extra."""
    labelled = LABELLED_TORCH.get((platform, device, python))
    with tempfile.TemporaryDirectory() as folder:
        constraints, output = Path(folder) / "constraints.txt", Path(folder) / "pylock.toml"
        constraints.write_text(CONSTRAINTS)
        command = ["uv", "pip", "compile", "pyproject.toml", "--extra", "pipeline", "--quiet"]
        command += ["--format", "pylock.toml", "--only-binary", ":all:", "-c", str(constraints)]
        command += ["--python-platform", PLATFORMS[platform][0], "--python-version", python]
        subprocess.run(
            [*command, "-o", str(output)],
            cwd=ROOT,
            check=True,
            stdout=subprocess.DEVNULL,
            env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": "14.0"},  # the oldest for PyTorch
        )
        found = tomllib.loads(output.read_text(encoding="utf-8"))["packages"]
    packages = []
    for package in found:
        if labelled and re.fullmatch(CUDA_PACKAGES, package["name"]):
            continue
        wheel = min(package["wheels"], key=lambda w: _preference(w["url"], python))
        wheel = {k: wheel[k] for k in ("url", "size")} | {"sha256": wheel["hashes"]["sha256"]}
        version = package["version"]
        if labelled and package["name"] == "torch":
            wheel = labelled
            version = re.search(r"torch-([^-]+)-", wheel["url"])[1].replace("%2B", "+")  # type: ignore[index]
        packages.append({"name": package["name"], "version": version, "wheel": wheel})
    return packages


def _preference(url: str, python: str) -> int:
    """A wheel built for that Python before one for several, before one in pure Python."""
    tag = f"cp{python.replace('.', '')}"
    return 0 if f"-{tag}-{tag}-" in url else 1 if "-abi3-" in url else 2


@cache
def uv_wheel(file_name_part: str) -> dict[str, Any]:
    """The wheel of uv itself."""
    request = urllib.request.Request(
        "https://pypi.org/simple/uv/", headers={"Accept": "application/vnd.pypi.simple.v1+json"}
    )
    with urllib.request.urlopen(request, timeout=60) as answer:
        files = json.load(answer)["files"]
    (file,) = (
        f for f in files if f["filename"].startswith(f"uv-{UV_VERSION}-py3-none-{file_name_part}")
    )
    return {"url": file["url"], "size": file["size"], "sha256": file["hashes"]["sha256"]}


class _RemoteFile(io.RawIOBase):
    """A file on a server that answers ranges, enough of one for `zipfile` to list it."""

    def __init__(self, url: str, size: int) -> None:
        self._url, self._size, self._at = url, size, 0

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        self._at = offset + {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        return self._at

    def tell(self) -> int:
        return self._at

    def read(self, count: int = -1) -> bytes:
        end = self._size if count < 0 else min(self._at + count, self._size)
        if end <= self._at:
            return b""
        headers = {"Range": f"bytes={self._at}-{end - 1}"}
        request = urllib.request.Request(self._url, headers=headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            content: bytes = answer.read()
        self._at += len(content)
        return content


@cache
def unpacked_bytes(url: str, size: int) -> int:
    """What a wheel takes once installed, from the directory at its end."""
    if url.startswith(PYTORCH):
        return UNPACKED_TORCH_BYTES[url.removeprefix(f"{PYTORCH}/").split("/")[0]]
    with zipfile.ZipFile(_RemoteFile(url, size)) as wheel:
        return sum(entry.file_size for entry in wheel.infolist())


def installed_bytes(packages: list[dict[str, Any]]) -> int:
    """Of all wheels together."""
    wheels = [package["wheel"] for package in packages]
    with ThreadPoolExecutor(8) as pool:
        sizes = pool.map(lambda wheel: unpacked_bytes(wheel["url"], wheel.get("size", 0)), wheels)
        return sum(sizes)


def document(packages: list[dict[str, Any]], python: str, uv: dict[str, Any]) -> str:
    """The lock file."""
    lines = [
        "# Written by scripts/lock_requirements.py; do not edit.",
        'lock-version = "1.0"',
        'created-by = "scripts/lock_requirements.py"',
        f'requires-python = "=={python}.*"',
    ]
    for package in packages:
        lines += [
            "",
            "[[packages]]",
            f'name = "{package["name"]}"',
            f'version = "{package["version"]}"',
            f"wheels = [{_inline(package['wheel'])}]",
        ]
    lines += ["", "[tool.one2345]", f"uv = {_inline(uv)}"]
    if any("size" not in package["wheel"] for package in packages):
        lines.append(f"estimated-bytes = {ESTIMATED_TORCH_BYTES}")
    lines.append(f"installed-bytes = {installed_bytes(packages)}")
    return "\n".join(lines) + "\n"


def _inline(wheel: dict[str, Any]) -> str:
    size = f"size = {wheel['size']}, " if "size" in wheel else ""
    return f'{{url = "{wheel["url"]}", {size}hashes = {{sha256 = "{wheel["sha256"]}"}}}}'


if __name__ == "__main__":
    sys.exit(main())
