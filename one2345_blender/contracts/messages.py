# SPDX-License-Identifier: GPL-3.0-or-later
"""The wire between Blender and the worker: one JSON object a line, both ways.

docs/worker_protocol.md shows every message and an example transcript.
"""

from __future__ import annotations

import json
import math
from typing import Any

from .errors import ProtocolError

PROTOCOL_VERSION = 1
MAX_LINE_BYTES = 1_000_000

COMMANDS: dict[str, tuple[str, ...]] = {
    "run": ("job",),
    "cancel": ("job_id",),
    "shutdown": (),
}
"""Name of each command and its required fields."""

EVENTS: dict[str, tuple[str, ...]] = {
    "hello": ("protocol", "pid", "versions"),
    "accepted": ("job_id",),
    "stage": ("job_id", "name", "index", "count"),
    "progress": ("job_id", "stage", "step", "steps"),
    "preview": ("job_id", "name", "path"),
    "warning": ("job_id", "code", "message"),
    "result": ("job_id", "files", "report"),
    "cancelled": ("job_id",),
    "error": ("job_id", "code", "message", "hint", "detail_path"),
}
"""Name of each event and its required fields."""

TERMINAL_EVENTS = frozenset({"result", "cancelled", "error"})
"""Every job ends with exactly one of these."""

Message = dict[str, Any]


def encode_line(message: Message) -> bytes:
    """One message as a line of UTF-8 JSON, newline included.

    Raises:
        ProtocolError: It holds NaN or infinity, or something that is not JSON.
    """
    try:
        text = json.dumps(message, allow_nan=False, ensure_ascii=False, separators=(",", ":"))
    except (TypeError, ValueError) as error:
        raise ProtocolError(f"Expected a message of finite JSON values: {error}.") from error
    return text.encode("utf-8", "surrogatepass") + b"\n"


def decode_line(line: bytes, known: dict[str, tuple[str, ...]]) -> Message | None:
    """The message in a line, or None when its type is not known (a newer peer's).

    Args:
        line: One line as read, with or without its newline.
        known: `COMMANDS` or `EVENTS`.

    Raises:
        ProtocolError: Not a JSON object with a `type`, too long, or a required field is missing.
    """
    if len(line) > MAX_LINE_BYTES:
        raise ProtocolError(f"Expected lines up to {MAX_LINE_BYTES} bytes, got {len(line)}.")
    try:
        message = json.loads(
            line.decode("utf-8", "surrogatepass"), parse_constant=_refuse, parse_float=_finite
        )
    except (ValueError, RecursionError) as error:
        raise ProtocolError(f"Expected one JSON object a line, got {line[:80]!r}.") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ProtocolError(f"Expected an object with a type, got {line[:80]!r}.")
    required = known.get(message["type"])
    if required is None:
        return None
    if missing := [name for name in required if name not in message]:
        raise ProtocolError(f"Message {message['type']!r} lacks {', '.join(missing)}.")
    return message


def _refuse(constant: str) -> None:
    raise ValueError(f"{constant} is not JSON")


def _finite(number: str) -> float:
    value = float(number)
    if not math.isfinite(value):
        raise ValueError(f"{number} is too large")
    return value
