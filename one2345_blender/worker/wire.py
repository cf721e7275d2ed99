# SPDX-License-Identifier: GPL-3.0-or-later
"""The only reader of the worker's stdin and the only writer of its stdout."""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from ..contracts.messages import MAX_LINE_BYTES, Message, encode_line

_STDIN_FD, _STDOUT_FD, _STDERR_FD = 0, 1, 2


class Wire:
    """Lines in, messages out; `send` may be called from any thread."""

    def __init__(self, incoming: BinaryIO, outgoing: BinaryIO) -> None:
        self._incoming = incoming
        self._outgoing = outgoing
        self._send_lock = threading.Lock()

    def send(self, message: Message) -> None:
        """Write one message and flush it.

        Raises:
            ProtocolError: The message is not finite JSON.
            OSError: The other side is gone.
        """
        line = encode_line(message)
        with self._send_lock:
            self._outgoing.write(line)
            self._outgoing.flush()

    def lines(self) -> Iterator[bytes]:
        """Lines as they arrive, ending at end of file; an overlong one comes in cut."""
        while line := self._incoming.readline(MAX_LINE_BYTES + 1):
            yield line


def claim_standard_streams() -> Wire:
    """Take stdin and stdout for the wire, for good.

    Afterwards file descriptor 1 is stderr and 0 is empty, so that neither a library's `print` nor
    a child process can touch the wire.
    """
    sys.stdout.flush()
    outgoing = os.fdopen(os.dup(_STDOUT_FD), "wb")
    os.dup2(_STDERR_FD, _STDOUT_FD)
    incoming = os.fdopen(os.dup(_STDIN_FD), "rb")
    with Path(os.devnull).open("rb") as empty:
        os.dup2(empty.fileno(), _STDIN_FD)
    return Wire(incoming, outgoing)
