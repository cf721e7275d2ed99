# SPDX-License-Identifier: GPL-3.0-or-later
"""A command that does one thing and speaks the worker's events: an installation, a download."""

from __future__ import annotations

import queue
import subprocess
import threading
import time
from pathlib import Path

from ..contracts.errors import ProtocolError
from ..contracts.messages import Message
from . import process_group
from .crash import crashed
from .environment import WorkerLaunch
from .event_reader import read_events
from .job_state import JobState, JobStatus, advance, cancel_requested, failed, sent
from .start_process import start_process

CANCEL_S = 10.0
"""From asking a command to end to killing it; an installer first ends its own children."""


class CommandProcess:
    """The running command; every method is called from one thread and returns at once.

    `state` reaches exactly one last word: the command's own, or one made here when it dies or
    breaks the protocol.
    """

    def __init__(self, launch: WorkerLaunch, *, job_id: str, log_path: Path) -> None:
        """Start it.

        Args:
            launch: Command line and environment.
            job_id: The one that the command's events bear.
            log_path: The command's stderr is written to this file.

        Raises:
            EnvironmentMissingError: The interpreter cannot be started.
        """
        self.state = sent(JobState(job_id=job_id))
        self._log_path = log_path
        self._arrivals: queue.Queue[Message | ProtocolError | None] = queue.Queue()
        self._kill_at_s = float("inf")
        self._process = start_process(
            launch, stdin=subprocess.DEVNULL, log_path=log_path, log_mode="wb"
        )
        threading.Thread(target=self._read_events, name="one2345-command", daemon=True).start()

    @property
    def is_over(self) -> bool:
        """True once the command has had its last word and its process is gone."""
        return self.state.is_final and self._process.poll() is not None

    def step(self) -> None:
        """Take in what the command said; kill it when it does not end after a cancellation."""
        while not self._arrivals.empty():
            arrival = self._arrivals.get()
            if arrival is None:
                self._take_end()
            elif isinstance(arrival, ProtocolError):
                self.state = failed(self.state, arrival)
                process_group.kill(self._process)
            else:
                self.state = advance(self.state, arrival)
        if time.monotonic() > self._kill_at_s:
            process_group.kill(self._process)

    def cancel(self) -> None:
        """Ask the command to end; what it has finished stays, and the next one goes on."""
        if not self.state.is_final and self.state.status is not JobStatus.CANCELLING:
            self.state = cancel_requested(self.state)
            self._kill_at_s = time.monotonic() + CANCEL_S
            process_group.terminate(self._process)

    def kill(self) -> None:
        """End the command without asking, and wait for it."""
        process_group.kill(self._process)
        self._process.wait()

    def _take_end(self) -> None:
        """The process has closed its end of the wire."""
        exit_status = self._process.wait()
        if self.state.is_final:
            return
        if self.state.status is JobStatus.CANCELLING:
            ended = {"type": "cancelled", "job_id": self.state.job_id, "was_forced": True}
            self.state = advance(self.state, ended)
        else:
            self.state = failed(self.state, crashed("The command", exit_status, self._log_path))

    def _read_events(self) -> None:
        """Runs in the reader thread, which owns the process's stdout."""
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for arrival in read_events(stdout):
                self._arrivals.put(arrival)
        self._arrivals.put(None)
