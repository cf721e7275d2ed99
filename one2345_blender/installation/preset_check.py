# SPDX-License-Identifier: GPL-3.0-or-later
"""Whether the files of a preset are all there and whole, without loading them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

from safetensors import SafetensorError, safe_open

from ..contracts.bounded_file import read_bounded
from ..contracts.errors import CheckpointError
from ..pipeline.preset_folders import MODEL_INDEX

SHA256SUMS = "SHA256SUMS"
"""In the form of `sha256sum`; scripts/build_extension.py writes it into the archive."""
_HINT = "Install or download the weights again."


def check_preset(folder: Path) -> str:
    """What is there, in a few words.

    A safetensors file says in its header how long it is, so that a short or long one is found.
    Where the folder has `SHA256SUMS`, as the built extension's has, each byte of the files named
    there is looked at.

    Raises:
        CheckpointError: A component is missing, or a file is damaged.
    """
    components = _components(folder)
    tensors, size_bytes = 0, 0
    for name in components:
        files = [path for path in (folder / name).glob("*") if path.is_file()]
        if not any(path.suffix == ".json" for path in files):
            raise CheckpointError(f"{folder / name} holds no configuration.", hint=_HINT)
        for path in files:
            size_bytes += path.stat().st_size
            if path.suffix == ".safetensors":
                tensors += _number_of_tensors(path)
    hashed = _check_hashes(folder)
    told = f", {hashed} files with the right SHA-256" if hashed else ""
    return f"{folder}: {len(components)} parts, {tensors} tensors, {size_bytes / 1e6:.0f} MB{told}"


def _check_hashes(folder: Path) -> int:
    """How many files are known by their hashes, all of which are right."""
    path = folder / SHA256SUMS
    if not path.exists():
        return 0
    try:
        lines = [line.split("  ", 1) for line in read_bounded(path).decode("utf-8").splitlines()]
        for sha256, name in lines:
            with (folder / name).open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise CheckpointError(f"{folder / name} is damaged: wrong SHA-256.", hint=_HINT)
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be checked: {error}.", hint=_HINT) from error
    return len(lines)


def _components(folder: Path) -> list[str]:
    path = folder / MODEL_INDEX
    try:
        index = json.loads(read_bounded(path))
        # a part that this preset does without is written as [null, null]
        names = [name for name, value in index.items() if isinstance(value, list) and any(value)]
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.", hint=_HINT) from error
    if bad := [name for name in names if Path(name).name != name]:
        raise CheckpointError(f"{path} names parts outside its folder: {bad}.", hint=_HINT)
    return names


def _number_of_tensors(path: Path) -> int:
    try:
        with safe_open(path, framework="np") as file:
            return len(file.keys())
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is damaged: {error}.", hint=_HINT) from error
