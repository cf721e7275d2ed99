# SPDX-License-Identifier: GPL-3.0-or-later
"""A process that speaks the worker's events on its stdout: started, listened to, and ended."""

from __future__ import annotations

import queue
import subprocess
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ..contracts.errors import EnvironmentMissingError, One2345Error
from ..contracts.messages import Message
from . import process_group
from .environment import WorkerLaunch
from .event_reader import read_events

_SILENT_S = 5.0
"""From closing its stdout, after which it cannot say anything, to being killed."""


@dataclass(frozen=True)
class Ended:
    """The process is gone; nothing arrives after this."""

    exit_status: int
    """Negative: the signal that ended it."""


Arrival = Message | One2345Error | Ended


class EventProcess:
    """The process with its children, in a group of its own.

    A thread reads its events. Only `wait` blocks.
    """

    def __init__(
        self,
        launch: WorkerLaunch,
        *,
        stdin: int,
        log_path: Path,
        log_mode: str,
        working_dir: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            launch: Command line and environment.
            stdin: As for `subprocess.Popen`.
            log_path: Its stderr goes to this file.
            log_mode: "wb" begins the file anew, "ab" appends.
            working_dir: Made where missing; None: the client's own.

        Raises:
            EnvironmentMissingError: The interpreter cannot be started.
        """
        self._arrivals: queue.SimpleQueue[Arrival] = queue.SimpleQueue()
        try:
            (working_dir or log_path.parent).mkdir(mode=0o700, parents=True, exist_ok=True)
            with log_path.open(log_mode) as log:
                self._process = subprocess.Popen(
                    launch.argv,
                    env=dict(launch.env),
                    cwd=working_dir,
                    stdin=stdin,
                    stdout=subprocess.PIPE,
                    stderr=log,
                    **process_group.POPEN_OPTIONS,
                )
        except OSError as error:
            raise EnvironmentMissingError(
                f"Could not start {launch.argv[0]}: {error.strerror or error}.",
                hint="Choose a working Python in the add-on's preferences.",
            ) from error

    def listen(self, on_event: Callable[[Message], None] = lambda _: None) -> None:
        """Start the thread that reads; it calls `on_event` with each event before that arrives."""
        threading.Thread(
            target=self._read_events, args=(on_event,), name="one2345-events", daemon=True
        ).start()

    @property
    def pid(self) -> int:
        """The process's id, which is its group's too."""
        return self._process.pid

    @property
    def is_gone(self) -> bool:
        """True once the process has ended."""
        return self._process.poll() is not None

    def arrivals(self) -> Iterator[Arrival]:
        """What arrived since the last call: events, what was wrong with others, the end."""
        while not self._arrivals.empty():
            yield self._arrivals.get()

    def send(self, line: bytes) -> None:
        """Write to its stdin; one that is dead says so by its end."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (OSError, ValueError):  # dead, or closed
            return

    def terminate(self) -> None:
        """Ask the group to end."""
        process_group.terminate(self._process)

    def kill(self) -> None:
        """End the group."""
        process_group.kill(self._process)

    def give_up(self, fault: One2345Error) -> None:
        """Kill it; `fault` arrives before the end."""
        self._arrivals.put(fault)
        self.kill()

    def wait(self, timeout_s: float) -> None:
        """Wait for its end; kill it when that takes longer."""
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            self.kill()
            self._process.wait()

    def close_stdin(self) -> None:
        """Let go of the pipe to a process that is gone."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.close()
        except OSError:  # the last command still waited in its buffer
            return

    def _read_events(self, on_event: Callable[[Message], None]) -> None:
        """Runs in the reader thread, which owns the process's stdout."""
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for arrival in read_events(stdout):
                if isinstance(arrival, One2345Error):  # whatever else it says is of no use
                    self.give_up(arrival)
                    break
                on_event(arrival)
                self._arrivals.put(arrival)
        self.wait(_SILENT_S)
        self._arrivals.put(Ended(self._process.returncode))
