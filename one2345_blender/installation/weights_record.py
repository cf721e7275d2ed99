# SPDX-License-Identifier: GPL-3.0-or-later
"""What is known of downloaded files: commit, size and hash, kept beside them as `weights.json`."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from ..contracts.bounded_file import read_bounded
from ..contracts.errors import CheckpointError
from ..contracts.job_folder import atomic_write

WEIGHTS_JSON = "weights.json"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, kw_only=True)
class FileRecord:
    """One file of a repository. At least one of the hashes is known."""

    path: str
    """Relative, with forward slashes."""
    size_bytes: int
    sha256: str | None = None
    git_sha1: str | None = None
    """Of small files: the hub knows these by the hash that git gives them."""

    def __post_init__(self) -> None:
        parts = PurePosixPath(self.path).parts
        is_inside = bool(parts) and parts[0] != "/" and ".." not in parts
        if not is_inside or re.search(r'[\\:*?"<>|\0]', self.path):
            raise ValueError(f"{self.path!r} does not stay inside its folder")
        if type(self.size_bytes) is not int or self.size_bytes < 0:
            raise ValueError(f"{self.path}: {self.size_bytes!r} is no size")
        for name, digits in (("sha256", 64), ("git_sha1", 40)):
            value = getattr(self, name)
            if value is not None and not re.fullmatch(f"[0-9a-f]{{{digits}}}", value):
                raise ValueError(f"{self.path}: {value!r} is no {name}")
        if self.sha256 is None and self.git_sha1 is None:
            raise ValueError(f"{self.path}: no hash is known")


@dataclass(frozen=True, kw_only=True)
class SourceRecord:
    """A repository at one commit."""

    repo_id: str
    commit: str
    licence: str
    files: tuple[FileRecord, ...]

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)


def read_records(folder: Path) -> tuple[SourceRecord, ...] | None:
    """The records in a folder; None: there are none yet.

    Raises:
        CheckpointError: The file is damaged, or names paths outside the folder.
    """
    path = folder / WEIGHTS_JSON
    try:
        sources = json.loads(read_bounded(path))["sources"]
        return tuple(
            SourceRecord(
                repo_id=str(source["repo_id"]),
                commit=str(source["commit"]),
                licence=str(source["licence"]),
                files=tuple(FileRecord(**file) for file in source["files"]),
            )
            for source in sources
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
        raise CheckpointError(
            f"{path} is damaged: {error}.", hint="Remove the weights and download them again."
        ) from error


def write_records(folder: Path, records: tuple[SourceRecord, ...]) -> None:
    """Write `weights.json`."""
    document: dict[str, Any] = {"sources": [asdict(record) for record in records]}
    with atomic_write(folder / WEIGHTS_JSON) as file:
        file.write(json.dumps(document, indent=1).encode())


def checked(
    path: Path, record: FileRecord, on_bytes: Callable[[int], None] = lambda count: None
) -> FileRecord:
    """The record with its SHA-256, after every byte of the file was looked at.

    Raises:
        CheckpointError: The file is missing, or is not the one that was recorded.
    """
    try:
        size_bytes = path.stat().st_size
        sha256, git_sha1 = hashlib.sha256(), hashlib.sha1(b"blob %d\0" % size_bytes)
        if size_bytes == record.size_bytes:
            with path.open("rb") as file:
                while block := file.read(_READ_BYTES):
                    sha256.update(block)
                    git_sha1.update(block)
                    on_bytes(len(block))
    except OSError as error:
        raise _not_it(path, f"{error.strerror}") from error
    if size_bytes != record.size_bytes:
        raise _not_it(path, f"expected {record.size_bytes} bytes, got {size_bytes}")
    for name, found in (("sha256", sha256.hexdigest()), ("git_sha1", git_sha1.hexdigest())):
        if getattr(record, name) not in (None, found):
            raise _not_it(path, f"expected the {name} {getattr(record, name)}, got {found}")
    return FileRecord(path=record.path, size_bytes=size_bytes, sha256=sha256.hexdigest())


def _not_it(path: Path, problem: str) -> CheckpointError:
    return CheckpointError(
        f"{path} is not the published file: {problem}.",
        hint="Delete it and download it again; if that does not help, report it.",
    )
