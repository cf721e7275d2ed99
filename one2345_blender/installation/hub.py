# SPDX-License-Identifier: GPL-3.0-or-later
"""The Hugging Face hub: what a repository holds, and its files, resumed where a try before ended.

The library's own download starts anew in every process; its `http_get` can go on, and does so here.
"""

from __future__ import annotations

import io
import logging
import os
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
from huggingface_hub import HfApi, constants, hf_hub_url, try_to_load_from_cache
from huggingface_hub.errors import GatedRepoError, HfHubHTTPError
from huggingface_hub.file_download import http_get
from huggingface_hub.utils import build_hf_headers
from tqdm import tqdm

from ..contracts.errors import CheckpointError, DownloadError, OfflineError, OutputError
from .published_weights import Source, agreed, needed_files
from .weights_record import FileRecord, SourceRecord, checked

TRIES = 3
"""Of a whole file, each of which the library repeats a few times where the connection breaks."""
_MAX_WAIT_S = 4.0
LIBRARY_LOGGER = "huggingface_hub"
constants.HF_HUB_DISABLE_TELEMETRY = True  # nothing is asked of the hub but what was asked of us

if TYPE_CHECKING:
    Bar = tqdm[Any]
else:
    Bar = tqdm
OnBytes = Callable[[int], None]


class Hub:
    """One endpoint; `HF_ENDPOINT`, `HF_HUB_OFFLINE`, `HF_HOME` and the user's token are heeded."""

    def __init__(self, endpoint: str | None = None) -> None:
        self._endpoint = endpoint or constants.ENDPOINT

    def look_up(self, source: Source) -> SourceRecord:
        """Commit, sizes and hashes of the files that a source asks for.

        Raises:
            OfflineError: The network may not be used.
            DownloadError: The hub does not answer, or answers nonsense.
            CheckpointError: A file is not there.
        """
        refuse_offline(f"look up {source.repo_id}")
        with _errors_named(source.repo_id):
            info = HfApi(endpoint=self._endpoint).model_info(
                source.repo_id, revision=source.revision, files_metadata=True
            )
            siblings = {sibling.rfilename: sibling for sibling in info.siblings or ()}
            files = []
            for path in needed_files(source, list(siblings)):
                sibling = siblings[path]
                files.append(
                    FileRecord(
                        path=path,
                        size_bytes=int(sibling.lfs.size if sibling.lfs else sibling.size or 0),
                        sha256=sibling.lfs.sha256 if sibling.lfs else None,
                        git_sha1=None if sibling.lfs else sibling.blob_id,
                    )
                )
            declared = (info.card_data or {}).get("license")
            licence = source.licence + (f"; the repository declares {declared}" if declared else "")
        record = SourceRecord(
            repo_id=source.repo_id, commit=str(info.sha), licence=licence, files=tuple(files)
        )
        hint = "Check HF_ENDPOINT and the connection: something else answers for the hub."
        return agreed(record, source, origin=without_credentials(self._endpoint), hint=hint)

    def cached(self, record: SourceRecord, file: FileRecord) -> Path | None:
        """The file in the cache that all programs on this machine share, if it is there."""
        path = try_to_load_from_cache(record.repo_id, file.path, revision=record.commit)
        return Path(path) if isinstance(path, str) else None

    def fetch(
        self, record: SourceRecord, file: FileRecord, path: Path, on_bytes: OnBytes
    ) -> FileRecord:
        """Download a file; it has its name only when it is whole and checked.

        Args:
            path: Where to. What a try before left beside it, as `.part`, is used.
            on_bytes: Told how many more bytes are there; negative when some had to go.

        Raises:
            OfflineError: The network may not be used.
            DownloadError: It could not be had in full.
            CheckpointError: What came has another hash.
            OutputError: The disk is full, or may not be written to.
        """
        refuse_offline(f"download {file.path}")
        part = path.with_name(f"{path.name}.part")
        path.parent.mkdir(parents=True, exist_ok=True)
        on_bytes(_size(part))
        for attempt in range(TRIES):
            try:
                self._receive(record, file, part, on_bytes)
                found = checked(part, file)
                part.replace(path)
                return found
            except CheckpointError:
                on_bytes(-_size(part))
                part.unlink(missing_ok=True)
                if attempt == TRIES - 1:
                    raise
            except DownloadError:
                if attempt == TRIES - 1:
                    raise
            time.sleep(min(2.0**attempt, _MAX_WAIT_S))
        raise AssertionError("the loop ends by return or raise")

    def _receive(
        self, record: SourceRecord, file: FileRecord, part: Path, on_bytes: OnBytes
    ) -> None:
        have = _size(part)
        if have > file.size_bytes:
            on_bytes(-have)
            part.unlink()
            have = 0
        url = hf_hub_url(record.repo_id, file.path, revision=record.commit, endpoint=self._endpoint)
        with _errors_named(url), _Bounded(part, file.size_bytes) as stream:
            http_get(
                url,
                stream,
                resume_size=have,
                headers={**build_hf_headers(), "Accept-Encoding": "identity"},
                expected_size=file.size_bytes,
                tqdm_class=_progress_class(on_bytes),
            )


class _Bounded(io.BufferedWriter):
    """Appends to a file, up to a size: who sends more sends something else, or without end."""

    def __init__(self, path: Path, max_bytes: int) -> None:
        super().__init__(io.FileIO(path, "ab"))
        self._path, self._max_bytes = path, max_bytes

    def write(self, chunk: Any, /) -> int:
        """As ever.

        Raises:
            DownloadError: There would be more than there may be.
        """
        if self.tell() + len(chunk) > self._max_bytes:
            raise DownloadError(
                f"Expected {self._max_bytes} bytes for {self._path.name}, more came.",
                hint="Check HF_ENDPOINT and the connection, and run the same again.",
            )
        return super().write(chunk)


class _WithoutCredentials(logging.Filter):
    """The library tells addresses as they are."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = without_credentials(record.getMessage()), None
        return True


for _handler in logging.getLogger(LIBRARY_LOGGER).handlers:
    _handler.addFilter(_WithoutCredentials())


def refuse_offline(purpose: str) -> None:
    """Raises OfflineError: `HF_HUB_OFFLINE` forbids the network."""
    if constants.HF_HUB_OFFLINE:
        raise OfflineError(
            f"Online access is switched off, so nothing can be done to {purpose}.",
            hint="In Blender: Preferences > System > Network > Allow Online Access. Elsewhere: "
            "unset HF_HUB_OFFLINE. Or name a folder of downloaded files with --from.",
        )


def without_credentials(text: str) -> str:
    """The text with what stands before the @ of an address blotted out."""
    return re.sub(r"(?<=//)[^/@\s]+@", "***@", text)


def _size(part: Path) -> int:
    return part.stat().st_size if part.exists() else 0


def _progress_class(on_bytes: OnBytes) -> type[Bar]:
    """The library reports to a bar: one that draws nothing and passes the number on."""

    class Silent(Bar):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **{**options, "disable": True})

        def update(self, n: float | None = 1) -> bool | None:
            on_bytes(int(n or 0))
            return None

    return Silent


@contextmanager
def _errors_named(address: str) -> Iterator[None]:
    what = without_credentials(address)
    hint = "Check the connection and run the same again: it goes on where it was."
    try:
        yield
    except GatedRepoError as error:
        raise DownloadError(
            f"{what} is only for those who have accepted its terms.",
            hint="Accept them on the hub's page, then set HF_TOKEN to a token of yours.",
        ) from error
    except HfHubHTTPError as error:
        status = error.response.status_code
        raise DownloadError(f"{what}: the hub answers {status}.", hint=hint) from error
    except httpx2.HTTPError as error:
        said = without_credentials(str(error)) or type(error).__name__
        raise DownloadError(f"{what}: {said}.", hint=hint) from error
    except OSError as error:
        if error.errno is None:  # the library's own: what came has another length
            raise DownloadError(f"{what}: {without_credentials(str(error))}.", hint=hint) from error
        raise OutputError(
            f"Could not store {what}: {os.strerror(error.errno)}.",
            hint="Free some space, or set ONE2345_PRESETS to a folder elsewhere.",
        ) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DownloadError(f"{what}: the answer makes no sense ({error}).", hint=hint) from error
