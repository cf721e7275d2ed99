# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the archive that Blender installs, with Blender's own tool, and validate it.

The tool is the stand-alone script that every `bpy` carries; importing bpy is not needed.
"""

from __future__ import annotations

import argparse
import hashlib
import subprocess
import sys
import tomllib
import zipfile
from importlib.util import find_spec
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PRESET = "one2345_blender/pipeline/presets/embedded/"


def blender_extension_tool() -> Path:
    """`blender_ext.py` of the installed `bpy`.

    Raises:
        FileNotFoundError: bpy is not installed, or holds no such file.
    """
    spec = find_spec("bpy")
    if spec is None or spec.origin is None:
        raise FileNotFoundError(
            "Expected the Python package bpy: run `make setup` with Python 3.11"
        )
    package = Path(spec.origin).parent
    return next(package.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py"))


def build_extension(output_dir: Path) -> Path:
    """Build and validate; the archive.

    Raises:
        subprocess.CalledProcessError: The tool refused; its message is on stderr.
    """
    output_dir.mkdir(parents=True, exist_ok=True)
    manifest = tomllib.loads((ROOT / "blender_manifest.toml").read_text(encoding="utf-8"))
    archive = output_dir / f"{manifest['id']}-{manifest['version']}.zip"
    tool = [sys.executable, str(blender_extension_tool())]
    build = ["build", "--source-dir", str(ROOT), "--output-filepath", str(archive)]
    subprocess.run([*tool, *build], check=True)
    add_hashes(archive)
    subprocess.run([*tool, "validate", str(archive)], check=True)
    return archive


def add_hashes(archive: Path) -> None:
    """Add the SHA-256 of each of the embedded preset's weights, for the doctor to hold against."""
    with zipfile.ZipFile(archive, "a") as opened:
        hashes = {}
        for entry in opened.infolist():
            if entry.filename.startswith(PRESET) and entry.filename.endswith(".safetensors"):
                with opened.open(entry) as file:
                    digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
                hashes[entry.filename.removeprefix(PRESET)] = digest
        text = "".join(f"{digest}  {name}\n" for name, digest in sorted(hashes.items()))
        opened.writestr(zipfile.ZipInfo(PRESET + "SHA256SUMS"), text)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--output-dir", type=Path, default=ROOT / "dist")
    archive = build_extension(parser.parse_args().output_dir.resolve())
    print(f"{archive} ({archive.stat().st_size / 1e6:.1f} MB)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
