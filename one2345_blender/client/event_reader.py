# SPDX-License-Identifier: GPL-3.0-or-later
"""Lines from the worker become events, or the protocol error that they are."""

from __future__ import annotations

from collections.abc import Iterator
from typing import IO

from ..contracts.errors import ProtocolError, shown
from ..contracts.messages import EVENTS, MAX_LINE_BYTES, Message, decode_line

_MAX_COUNT = 2**53
_FIELD_TYPES: dict[str, type | tuple[type, ...]] = {
    "job_id": (str, type(None)),
    "index": int,
    "count": int,
    "step": int,
    "steps": int,
    "stage": str,
    "name": str,
    "path": str,
    "code": str,
    "message": str,
    "hint": str,
    "detail_path": (str, type(None)),
    "files": dict,
    "report": dict,
    "versions": dict,
}


def read_events(stdout: IO[bytes]) -> Iterator[Message | ProtocolError]:
    """Events as they arrive, until the worker closes its end; unknown types are skipped.

    The errors hold no tracebacks and no causes, which would keep the line that they are about.
    """
    while line := stdout.readline(MAX_LINE_BYTES + 1):
        try:
            event = decode_line(line, EVENTS)
            if event is not None:
                _check_field_types(event)
                yield event
        except ProtocolError as error:
            yield ProtocolError(error.message, hint=error.hint)


def _check_field_types(event: Message) -> None:
    for name, expected in _FIELD_TYPES.items():
        if name in event and not _is_fit(event[name], expected):
            raise ProtocolError(
                f"Event {event['type']!r}: {name} is not as expected, {shown(event[name])}.",
                hint="Remove Runtime, then Install Runtime…, in the extension's preferences.",
            )


def _is_fit(value: object, expected: type | tuple[type, ...]) -> bool:
    """Of the type, and small enough to reckon with; paths of files are texts."""
    if not isinstance(value, expected):
        return False
    if expected is int:
        return isinstance(value, int) and 0 <= value < _MAX_COUNT
    if expected is dict and isinstance(value, dict):
        return all(isinstance(key, str) for key in value)
    return True
