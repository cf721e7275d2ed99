# SPDX-License-Identifier: GPL-3.0-or-later
"""A command that does one thing and speaks the worker's events: an installation, a download."""

from __future__ import annotations

import subprocess
from pathlib import Path

from ..contracts.errors import One2345Error
from .crash import crashed
from .deadline import Deadline
from .environment import WorkerLaunch
from .event_process import Ended, EventProcess
from .job_state import JobState, JobStatus, advance, cancel_requested, failed, sent

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
        self._kill_deadline = Deadline()
        self._process = EventProcess(
            launch, stdin=subprocess.DEVNULL, log_path=log_path, log_mode="wb"
        )
        self._process.listen()

    @property
    def is_over(self) -> bool:
        """True once the command has had its last word and its process is gone."""
        return self.state.is_final and self._process.is_gone

    def step(self) -> None:
        """Take in what the command said."""
        for arrival in self._process.arrivals():
            if isinstance(arrival, Ended):
                self._take_end(arrival.exit_status)
            elif isinstance(arrival, One2345Error):
                self.state = failed(self.state, arrival)
                self._process.kill()
            else:
                self.state = advance(self.state, arrival)

    def cancel(self) -> None:
        """Ask the command to end, and kill it when it does not; what it has finished stays, and the
        next one goes on."""
        if not self.state.is_final and self.state.status is not JobStatus.CANCELLING:
            self.state = cancel_requested(self.state)
            self._kill_deadline.set(CANCEL_S, self._process.kill)
            self._process.terminate()

    def kill(self) -> None:
        """End the command without asking, and wait for it."""
        self._process.kill()
        self._process.wait(0.0)

    def _take_end(self, exit_status: int) -> None:
        self._kill_deadline.lift()
        if self.state.is_final:
            return
        if self.state.status is JobStatus.CANCELLING:
            ended = {"type": "cancelled", "job_id": self.state.job_id, "was_forced": True}
            self.state = advance(self.state, ended)
        else:
            self.state = failed(self.state, crashed("The command", exit_status, self._log_path))
