# SPDX-License-Identifier: GPL-3.0-or-later
"""The worker's command loop: one job at a time, models kept warm between jobs."""

from __future__ import annotations

import os
import platform
import queue
import threading
from importlib import metadata

from ..contracts.errors import OptionError, ProtocolError
from ..contracts.messages import COMMANDS, PROTOCOL_VERSION, Message, decode_line
from ..version import __version__
from .run_job import Converter, error_event, load_converter, run_job
from .wire import Wire

_REPORTED_PACKAGES = ("torch", "diffusers", "transformers")
_EXIT_GRACE_S = 3.0
"""Nothing of the worker outlives Blender by 5 s, however busy the machine."""


class Server:
    """Reads commands in a thread of its own, so that a cancel is seen while a job runs."""

    def __init__(self, wire: Wire, converter: Converter | None = None) -> None:
        """Serve on `wire`; jobs go to `converter`, by default the pipeline, loaded by the first."""
        self._wire = wire
        self._converter = converter
        self._jobs: queue.Queue[Message | None] = queue.Queue()
        self._lock = threading.Lock()
        self._current_job_id: str | None = None
        self._cancel = threading.Event()
        self._is_finished = threading.Event()

    def serve(self) -> None:
        """Say hello and run jobs until `shutdown` or end of file."""
        self._wire.send(
            {
                "type": "hello",
                "protocol": PROTOCOL_VERSION,
                "pid": os.getpid(),
                "versions": _versions(),
            }
        )
        threading.Thread(target=self._read_commands, name="commands", daemon=True).start()
        while (job := self._jobs.get()) is not None:
            if self._converter is None:
                self._converter = load_converter()
            terminal = run_job(
                job, convert=self._converter, send=self._wire.send, cancel=self._cancel
            )
            with self._lock:  # a job that starts upon this last word must not find us busy
                self._current_job_id = None
            self._send_last_word(terminal)
        self._is_finished.set()

    def _send_last_word(self, terminal: Message) -> None:
        try:
            self._wire.send(terminal)
        except ProtocolError as error:
            self._wire.send(error_event(terminal["job_id"], error))

    def _read_commands(self) -> None:
        """Runs in a thread of its own. However it ends, the worker does too: where nobody reads the
        answers any more, sending one fails."""
        try:
            for line in self._wire.lines():
                if not self._take_line(line):
                    break
        finally:
            self._stop()

    def _take_line(self, line: bytes) -> bool:
        """Do what a command says; False: it was the last one."""
        try:
            command = decode_line(line, COMMANDS)
        except ProtocolError as error:
            self._wire.send(error_event(None, error))
            return True
        if command is None:
            return True
        if command["type"] == "run":
            self._enqueue(command["job"])
        elif command["type"] == "cancel":
            self._cancel_job(command["job_id"])
        return bool(command["type"] != "shutdown")

    def _enqueue(self, job: object) -> None:
        job_id = job.get("job_id") if isinstance(job, dict) else None
        if not isinstance(job, dict) or not isinstance(job_id, str):
            problem = OptionError("job: expected an object with a job_id.", hint="Send one.")
            self._wire.send(error_event(None, problem))
            return
        with self._lock:
            busy_with = self._current_job_id
            if busy_with is None:
                self._current_job_id = job_id
                self._cancel.clear()
        if busy_with is None:
            self._jobs.put(job)
        else:
            problem = OptionError(
                f"The worker runs one job at a time and is busy with {busy_with}.",
                hint="Wait for its end or cancel it.",
            )
            self._wire.send(error_event(job_id, problem))

    def _cancel_job(self, job_id: str) -> None:
        """Cancel the job if it is the current one; a late cancel must not hit the next."""
        with self._lock:
            if job_id == self._current_job_id:
                self._cancel.set()

    def _stop(self) -> None:
        """End the loop; a job that does not heed its token in time ends with the process."""
        self._cancel.set()
        self._jobs.put(None)
        if not self._is_finished.wait(_EXIT_GRACE_S):
            os._exit(1)


def _versions() -> dict[str, str]:
    """Our version, Python's and the installed packages', found without importing these."""
    versions = {"one2345": __version__, "python": platform.python_version()}
    for name in _REPORTED_PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions
