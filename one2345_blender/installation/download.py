# SPDX-License-Identifier: GPL-3.0-or-later
"""The published weights of a preset: brought here, checked, kept, removed."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from ..contracts.errors import CheckpointError, OptionError, OutputError
from ..contracts.job_folder import atomic_write, prepare_output_dir
from ..contracts.messages import Message
from ..contracts.preset_location import user_presets_folder
from .hub import Hub
from .published_weights import PUBLISHED, agreed
from .weights_record import (
    WEIGHTS_JSON,
    FileRecord,
    SourceRecord,
    checked,
    read_records,
    write_records,
)

STAGES = ("look_up", "download", "import")
LICENCES_TXT = "LICENCES.txt"
_TELL_EVERY_S = 0.2

Emit = Callable[[Message], None]


@dataclass(frozen=True, kw_only=True)
class Downloaded:
    """What a download left behind."""

    files: dict[str, str]
    """Absolute paths by repository and path."""
    report: dict[str, Any]


def downloads_folder(preset: str) -> Path:
    """Where the published files of a preset are kept.

    Raises:
        OptionError: Nothing is published for that preset.
    """
    if preset not in PUBLISHED:
        raise OptionError(
            f"preset: expected one of {', '.join(PUBLISHED)}, got {preset!r}.",
            hint="The preset `embedded` ships with the package and needs no download.",
        )
    return user_presets_folder() / f"{preset}.published"


def licences(preset: str) -> str:
    """What the user agrees to, for people to read before anything is downloaded.

    Raises:
        OptionError: Nothing is published for that preset.
    """
    downloads_folder(preset)
    lines = [
        f"{source.holds} (https://huggingface.co/{source.repo_id}): {source.licence}."
        for source in PUBLISHED[preset]
    ]
    return "\n".join(lines)


def cost(preset: str, *, hub: Hub, given: Path | None = None) -> Downloaded:
    """What `download` will ask for: the licences and the room; fetches nothing but these facts.

    Args:
        given: As in `download`.

    Raises:
        OptionError, OfflineError, DownloadError, CheckpointError: As in `download`.
    """
    folder = downloads_folder(preset)
    records = _look_up(preset, folder, given, hub)
    missing_bytes = _missing_bytes(folder, records)
    report = {
        "preset": preset,
        "folder": str(folder),
        "licences": licences(preset),
        "download_bytes": missing_bytes,
        "needed_bytes": _needed_bytes(folder, records, makes_preset=True),
        "free_bytes": shutil.disk_usage(_existing(folder)).free,
    }
    return Downloaded(files={}, report=report)


def download(
    preset: str,
    *,
    hub: Hub,
    emit: Emit,
    given: Path | None = None,
    makes_preset: bool = False,
) -> Downloaded:
    """Bring all published files of a preset to this machine; goes on where a try before ended.

    A file is taken from where it is: the folder of an earlier download, `given`, the cache that all
    programs share, else the hub. Whichever it is, its hash is compared. What the first download
    learns of the hub is kept, and later ones must agree with it.

    Args:
        given: A folder of files that the user has: the one that a download made elsewhere, the
            repositories' folders, or the files side by side. A `weights.json` in it is believed
            where this machine has none of its own.
        makes_preset: Room for the preset that will be made of them is looked for as well.

    Raises:
        OptionError: Nothing is published for that preset.
        OfflineError: A file is needed from the network, which may not be used.
        DownloadError: The hub does not give it.
        CheckpointError: A file is not the one that was published.
        OutputError: There is no space, or no permission.
    """
    folder = downloads_folder(preset)
    with _claimed(preset):
        prepare_output_dir(folder)
        _stage(emit, "look_up")
        records = _look_up(preset, folder, given, hub)
        write_records(folder, records)
        _check_space(folder, _needed_bytes(folder, records, makes_preset=makes_preset))
        return _obtain_all(preset, folder, records, given, hub, emit)


def _obtain_all(
    preset: str,
    folder: Path,
    records: tuple[SourceRecord, ...],
    given: Path | None,
    hub: Hub,
    emit: Emit,
) -> Downloaded:
    _stage(emit, "download")
    progress = _Progress(emit, sum(record.size_bytes for record in records))
    files: dict[str, str] = {}
    finished = []
    for record in records:
        found = []
        for file in record.files:
            path, file_found = _obtain(folder, record, file, given, hub, progress)
            files[f"{record.repo_id}/{file.path}"] = str(path)
            found.append(file_found)
        finished.append(replace(record, files=tuple(found)))
    write_records(folder, tuple(finished))
    for part in folder.rglob("*.part"):  # of a try that was killed
        part.unlink()
    with atomic_write(folder / LICENCES_TXT) as stream:
        text = "\n".join(f"{r.repo_id} at {r.commit}: {r.licence}" for r in finished)
        stream.write(f"{text}\n".encode())
    report = {
        "preset": preset,
        "folder": str(folder),
        "size_bytes": progress.total_bytes,
        "sources": {record.repo_id: record.commit for record in finished},
    }
    return Downloaded(files=files, report=report)


def make_preset(preset: str, downloaded: Downloaded, emit: Emit) -> Downloaded:
    """Turn the downloaded files into the preset's folder, which appears when it is whole.

    Raises:
        CheckpointError: The files are not what a conversion needs.
        OutputError: There is no space, or no permission.
    """
    from ..pipeline.import_checkpoint import import_checkpoint  # loads the libraries

    _stage(emit, "import")
    target, unfinished = (user_presets_folder() / name for name in (preset, f"{preset}.part"))
    with _claimed(preset):
        shutil.rmtree(unfinished, ignore_errors=True)
        try:
            for source in PUBLISHED[preset]:
                repository = downloads_folder(preset) / source.repo_id.replace("/", "--")
                import_checkpoint(repository / source.imported, unfinished)
            _delete(target, successor=unfinished)
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)
    return replace(
        downloaded,
        files={**downloaded.files, "preset": str(target)},
        report={**downloaded.report, "preset_folder": str(target)},
    )


def remove(preset: str) -> Downloaded:
    """Delete a preset's published files and the preset made of them; the report has the freed size.

    Raises:
        OptionError: Nothing is published for that preset.
        OutputError: Something cannot be deleted, or is being downloaded.
    """
    presets, freed_bytes = user_presets_folder(), 0
    if presets.is_dir():
        with _claimed(preset):
            for folder in (downloads_folder(preset), presets / preset, presets / f"{preset}.part"):
                freed_bytes += _delete(folder)
            with suppress(OSError):  # Windows deletes no open file
                _lock(preset).unlink()
    return Downloaded(files={}, report={"preset": preset, "freed_bytes": freed_bytes})


def _delete(folder: Path, *, successor: Path | None = None) -> int:
    """Delete a folder, which is never half there under its name; the bytes that this frees.

    Args:
        successor: A folder that takes its name as soon as it is free.

    Raises:
        OutputError: Something in it cannot be deleted, or moved.
    """
    doomed = folder.with_name(f"{folder.name}.deleted")
    try:
        freed_bytes = _erase(doomed)  # left by one that was killed
        if folder.is_dir():
            folder.rename(doomed)
        if successor is not None:
            successor.rename(folder)
        return freed_bytes + _erase(doomed)
    except OSError as error:
        raise OutputError(
            f"Could not delete {folder}: {error.strerror}.",
            hint="Close the programs that use these weights and try again.",
        ) from error


def _erase(folder: Path) -> int:
    """Delete a folder, if it is there; the bytes that this frees: what the cache that all programs
    share holds under another name stays.
    """
    if not folder.is_dir():
        return 0
    found = [path.lstat() for path in folder.rglob("*") if not path.is_dir()]
    freed_bytes = sum(file.st_size for file in found if file.st_nlink == 1)
    shutil.rmtree(folder)
    return freed_bytes


def _look_up(preset: str, folder: Path, given: Path | None, hub: Hub) -> tuple[SourceRecord, ...]:
    """What is known of the files from before; else what the hub says."""
    origin, records = folder, read_records(folder)
    hint = "Remove the weights and download them again."
    if records is None and given is not None:
        origin, records = given, read_records(given)
        hint = f"Give a folder that `download` has made, or delete {WEIGHTS_JSON} in it."
    known = {record.repo_id: record for record in records or ()}
    return tuple(
        agreed(known[source.repo_id], source, origin=str(origin / WEIGHTS_JSON), hint=hint)
        if source.repo_id in known
        else hub.look_up(source)
        for source in PUBLISHED[preset]
    )


def _lock(preset: str) -> Path:
    return user_presets_folder() / f"{preset}.lock"


@contextmanager
def _claimed(preset: str) -> Iterator[None]:
    """Keep a second download out; the system lets go when this process ends, however."""
    prepare_output_dir(user_presets_folder())
    lock = FileLock(_lock(preset), timeout=0)
    try:
        lock.acquire()
    except Timeout as error:
        raise OutputError(
            f"Another download into {downloads_folder(preset)} is running.",
            hint="Wait for its end, or cancel it.",
        ) from error
    try:
        yield
    finally:
        lock.release()


def _existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    return next(path for path in (folder, *folder.parents) if path.is_dir())


def _folder_bytes(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir())


def _missing_bytes(folder: Path, records: tuple[SourceRecord, ...]) -> int:
    return max(sum(record.size_bytes for record in records) - _folder_bytes(folder), 0)


def _needed_bytes(folder: Path, records: tuple[SourceRecord, ...], *, makes_preset: bool) -> int:
    """Of the files that are missing, and of the preset made of them all, which is a copy."""
    copied_bytes = sum(record.size_bytes for record in records) if makes_preset else 0
    return _missing_bytes(folder, records) + copied_bytes


def _check_space(folder: Path, needed_bytes: int) -> None:
    free_bytes = shutil.disk_usage(folder).free
    if needed_bytes > free_bytes:
        raise OutputError(
            f"{needed_bytes / 1e9:.1f} GB are needed in {folder}, {free_bytes / 1e9:.1f} GB are "
            "free.",
            hint="Free some space, or set ONE2345_PRESETS to a folder elsewhere.",
        )


def _obtain(
    folder: Path,
    record: SourceRecord,
    file: FileRecord,
    given: Path | None,
    hub: Hub,
    progress: _Progress,
) -> tuple[Path, FileRecord]:
    """The file, from the nearest place that has it."""
    own = Path(record.repo_id.replace("/", "--")) / file.path
    kept, before_bytes = folder / own, progress.done_bytes
    if kept.is_file():
        try:
            return kept, checked(kept, file, progress.add)
        except CheckpointError:
            kept.unlink()
            progress.add(before_bytes - progress.done_bytes)
    names = (own, Path(record.repo_id) / file.path, file.path, Path(file.path).name)
    nearer = [given / name for name in names] if given else []
    for path in (*nearer, hub.cached(record, file)):
        if path is not None and path.is_file() and path.stat().st_size == file.size_bytes:
            found = checked(path, file, progress.add)
            _adopt(path.resolve(), kept)
            return kept, found
    return kept, hub.fetch(record, file, kept, progress.add)


def _adopt(path: Path, kept: Path) -> None:
    """Have a file under another name too: a second link to it where that can be, else a copy."""
    kept.parent.mkdir(parents=True, exist_ok=True)
    try:
        kept.hardlink_to(path)
    except OSError:
        with atomic_write(kept) as copy, path.open("rb") as original:
            shutil.copyfileobj(original, copy)


class _Progress:
    """Bytes of all files together, told now and then."""

    def __init__(self, emit: Emit, total_bytes: int) -> None:
        self._emit, self.total_bytes = emit, total_bytes
        self.done_bytes = 0
        self._told_s = 0.0

    def add(self, number_bytes: int) -> None:
        """Count bytes that are there now, or, below 0, that had to go."""
        self.done_bytes += number_bytes
        now_s = time.monotonic()
        if self.done_bytes >= self.total_bytes or now_s - self._told_s > _TELL_EVERY_S:
            self._told_s = now_s
            step = min(self.done_bytes, self.total_bytes)
            counts = {"step": step, "steps": self.total_bytes}
            self._emit({"type": "progress", "stage": "download", **counts})


def _stage(emit: Emit, name: str) -> None:
    emit({"type": "stage", "name": name, "index": STAGES.index(name), "count": len(STAGES)})
