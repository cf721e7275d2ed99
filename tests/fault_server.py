# SPDX-License-Identifier: GPL-3.0-or-later
"""A real HTTP server on loopback that serves files, and misbehaves as it is told to."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Literal

STALL_S = 20.0
MAX_ENDLESS_BYTES = 100_000_000
LOGIN_PAGE = b"<html><body>Please log in to this network.</body></html>"

Kind = Literal[
    "cut", "stall", "corrupt", "status", "html", "too_long", "too_short", "no_range", "endless"
]


@dataclass(frozen=True)
class Fault:
    """What goes wrong with one GET."""

    kind: Kind
    at: float = 0.5
    """Part of the answer that comes before a `cut` or a `stall`."""
    code: int = 500
    """Of a `status`."""

    def __str__(self) -> str:
        return f"{self.kind}-{self.at}-{self.code}"


MISHAPS = (
    Fault("cut", at=0.1),
    Fault("cut", at=0.5),
    Fault("cut", at=0.99),
    Fault("stall"),
    Fault("corrupt"),
    Fault("html"),
    Fault("too_long"),
    Fault("too_short"),
    Fault("status", code=429),
    Fault("status", code=500),
)
"""What a download survives when it happens once."""


@dataclass
class FaultServer:
    """`with FaultServer(files) as server:`; `faults[path]` is used up, one for each GET."""

    files: dict[str, bytes]
    faults: dict[str, list[Fault]] = field(default_factory=dict)
    headers: Callable[[str], dict[str, str]] = lambda path: {}
    """More headers for a path."""
    redirects: dict[str, str] = field(default_factory=dict)
    """Paths and the addresses that they are answered with."""
    requests: list[tuple[str, str, str]] = field(default_factory=list)
    """Method, path and Range of all requests so far."""
    authorizations: set[str] = field(default_factory=set)
    """What came with them."""
    endless_bytes: int = 0
    """What the readers of `endless` answers have taken."""

    def __enter__(self) -> FaultServer:
        self.is_closing = threading.Event()
        handler = type("Handler", (_Handler,), {"owner": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.is_closing.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_port}"

    def gets(self, path: str) -> list[str]:
        """The Range of each GET of a path."""
        return [sent for method, asked, sent in self.requests if (method, asked) == ("GET", path)]


class _Handler(BaseHTTPRequestHandler):
    owner: FaultServer
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(has_body=False)

    def do_GET(self) -> None:
        self._answer(has_body=True)

    def log_message(self, *arguments: object) -> None:
        """Silence: the tests look at `requests`."""

    def _answer(self, *, has_body: bool) -> None:
        sent_range = self.headers.get("Range", "")
        self.owner.requests.append((self.command, self.path, sent_range))
        self.owner.authorizations.add(self.headers.get("Authorization", ""))
        waiting = self.owner.faults.get(self.path, [])
        fault = waiting.pop(0) if has_body and waiting else None
        content = self.owner.files.get(self.path)
        if elsewhere := self.owner.redirects.get(self.path):
            self._send(302, b"", has_body, {"Location": elsewhere})
        elif content is None:
            self._send(404, b"not here", has_body)
        elif fault is not None and fault.kind == "status":
            self._send(fault.code, b"not now", has_body)
        elif fault is not None and fault.kind == "html":
            self._send(200, LOGIN_PAGE, has_body, {"Content-Type": "text/html"})
        elif fault is not None and fault.kind == "endless":
            self._send_without_end(content)
        else:
            self._send_file(content, sent_range, fault, has_body)

    def _send_file(
        self, content: bytes, sent_range: str, fault: Fault | None, has_body: bool
    ) -> None:
        kind = fault.kind if fault else None
        status, more = 200, {"Accept-Ranges": "bytes", **self.owner.headers(self.path)}
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", sent_range)
        if asked and kind != "no_range":
            start = int(asked[1])
            if start >= len(content):
                self._send(416, b"", has_body)
                return
            end = min(int(asked[2] or len(content) - 1), len(content) - 1)
            more["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
            status, content = 206, content[start : end + 1]
        if kind == "corrupt":
            middle = len(content) // 2
            content = content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]
        elif kind == "too_long":
            content += b"and more"
        elif kind == "too_short":
            content = content[:-1]
        if fault and kind in ("cut", "stall"):
            self._send_part(status, content, more, fault)
        else:
            self._send(status, content, has_body, more)

    def _send_part(self, status: int, content: bytes, more: dict[str, str], fault: Fault) -> None:
        """Promise all, send some; then hang up or fall silent."""
        self._send(status, content, False, more)
        self.wfile.write(content[: int(len(content) * fault.at)])
        self.wfile.flush()
        if fault.kind == "stall":
            self.owner.is_closing.wait(STALL_S)
        self.close_connection = True

    def _send_without_end(self, content: bytes) -> None:
        """No length is told, and after the file comes more, as long as it is read."""
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        self.close_connection = True
        try:
            self.wfile.write(content)
            while self.owner.endless_bytes < MAX_ENDLESS_BYTES:
                self.wfile.write(bytes(100_000))
                self.owner.endless_bytes += 100_000
        except OSError:  # the reader has had enough
            return

    def _send(
        self, status: int, content: bytes, has_body: bool, more: dict[str, str] | None = None
    ) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/octet-stream", **(more or {})}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        if has_body:
            self.wfile.write(content)
