# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker process: started, listened to without blocking, and ended for sure."""

from __future__ import annotations

import contextlib
import queue
import subprocess
import threading
import time
from dataclasses import dataclass
from pathlib import Path

from ..contracts.errors import One2345Error, ProtocolError, WorkerCrashedError
from ..contracts.messages import PROTOCOL_VERSION, TERMINAL_EVENTS, Message, encode_line
from . import process_group
from .crash import crashed
from .environment import WorkerLaunch
from .event_reader import read_events
from .start_process import start_process


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """How long the client waits for the worker, seconds."""

    hello_s: float = 60.0
    """From the start to `hello`; a cold disk and a virus scanner are slow."""
    cancel_s: float = 1.2
    """From the cancel command to terminating the process group; a user who cancels waits 2 s at
    most, and the import of the networks' libraries, say, does not listen."""
    terminate_s: float = 0.5
    """From terminating to killing it."""


class WorkerProcess:
    """A worker; every method is called from one thread and returns at once unless it says so.

    `poll` delivers exactly one terminal event for each job sent with `run`: the worker's own, or
    one made here when the worker dies, breaks the protocol or has to be killed.
    """

    def __init__(
        self,
        launch: WorkerLaunch,
        *,
        working_dir: Path,
        log_path: Path,
        deadlines: Deadlines | None = None,
    ) -> None:
        """Start the process.

        Args:
            launch: Command line and environment.
            working_dir: The process's working directory; made if it is gone.
            log_path: The worker's stderr is appended to this file.
            deadlines: Defaults to `Deadlines()`.

        Raises:
            EnvironmentMissingError: The interpreter cannot be started.
        """
        self._deadlines = deadlines or Deadlines()
        self._log_path = log_path
        self._arrivals: queue.Queue[Message | ProtocolError | None] = queue.Queue()
        self._job_id: str | None = None
        self._has_said_hello = False
        self.versions: dict[str, str] = {}
        """Of the worker's Python and packages, once it has said hello."""
        self._is_cancelling = False
        self._fault: One2345Error | None = None
        self._process = start_process(
            launch,
            stdin=subprocess.PIPE,
            log_path=log_path,
            log_mode="ab",
            working_dir=working_dir,
        )
        self._next_step_s: float | None = time.monotonic() + self._deadlines.hello_s
        threading.Thread(target=self._read_events, name="one2345-events", daemon=True).start()

    @property
    def is_usable(self) -> bool:
        """True while the process can take another job."""
        return self._fault is None and self._process.poll() is None

    @property
    def is_gone(self) -> bool:
        """True once the process has ended."""
        return self._process.poll() is not None

    @property
    def pid(self) -> int:
        """The process's id, which is its group's too."""
        return self._process.pid

    def run(self, job: Message) -> None:
        """Send a job (`JobSpec.to_dict()`); the previous one has had its last word.

        Raises:
            One2345Error: The process is known to be dead, or still has a job.
        """
        if self._fault is not None:
            raise self._fault
        if self._job_id is not None:
            raise ProtocolError(f"Expected no job under way, but {self._job_id} is.")
        self._job_id = job["job_id"]
        self._send({"type": "run", "job": job})

    def cancel(self) -> None:
        """Ask the current job to stop; `poll` escalates when it does not."""
        if self._job_id is None or self._is_cancelling:
            return
        self._is_cancelling = True
        self._next_step_s = time.monotonic() + self._deadlines.cancel_s
        self._send({"type": "cancel", "job_id": self._job_id})

    def poll(self) -> list[Message]:
        """The events that arrived since the last call; also where deadlines are kept."""
        events: list[Message] = []
        while not self._arrivals.empty():
            arrival = self._arrivals.get()
            if arrival is None:
                events += self._last_words_of_the_dead()
            elif isinstance(arrival, ProtocolError):
                self._fail(arrival)
            else:
                events += self._take(arrival)
        if self._next_step_s is not None and time.monotonic() > self._next_step_s:
            self._escalate()
        return events

    def dismiss(self) -> None:
        """Ask the process to end and return; `poll` kills one that does not, until `is_gone`."""
        self._fault = self._fault or WorkerCrashedError("The worker was dismissed.")
        self._next_step_s = time.monotonic() + self._deadlines.terminate_s
        self._send({"type": "shutdown"})

    def close(self, *, timeout_s: float = 0.5) -> None:
        """End the process: ask, then kill. Blocks, at most `timeout_s` and a little."""
        self.dismiss()
        try:
            self._process.wait(timeout_s)
        except subprocess.TimeoutExpired:
            process_group.kill(self._process)
            self._process.wait()
        assert self._process.stdin is not None
        with contextlib.suppress(OSError):  # the command above may still wait in its buffer
            self._process.stdin.close()

    def _send(self, command: Message) -> None:
        line = encode_line(command)
        try:
            assert self._process.stdin is not None
            self._process.stdin.write(line)
            self._process.stdin.flush()
        except (OSError, ValueError):  # dead or closed: its last words come through the queue
            return

    def _read_events(self) -> None:
        """Runs in the reader thread, which owns the process's stdout."""
        assert self._process.stdout is not None
        with self._process.stdout as stdout:
            for arrival in read_events(stdout):
                self._arrivals.put(arrival)
        self._arrivals.put(None)

    def _take(self, event: Message) -> list[Message]:
        if event["type"] == "hello":
            self._greet(event)
            return []
        if not self._has_said_hello:
            self._fail(ProtocolError(f"Expected hello first, got {event['type']}."))
            return []
        if event["type"] == "error" and event["job_id"] is None:
            self._fail(ProtocolError(event["message"], hint=event["hint"]))
            return []
        if event["job_id"] != self._job_id:
            return []
        if event["type"] in TERMINAL_EVENTS:
            self._forget_job()
        return [event]

    def _greet(self, hello: Message) -> None:
        if hello["protocol"] != PROTOCOL_VERSION:
            self._fail(
                ProtocolError(
                    f"Expected a worker that speaks protocol {PROTOCOL_VERSION}, "
                    f"got {hello['protocol']}.",
                    hint="Re-install the worker from the add-on's preferences.",
                )
            )
            return
        self._has_said_hello = True
        self.versions = {str(name): str(value) for name, value in hello["versions"].items()}
        if not self._is_cancelling and self._fault is None:
            self._next_step_s = None

    def _fail(self, fault: One2345Error) -> None:
        """Give the worker up; its job ends with `fault` once the process is gone."""
        self._fault = self._fault or fault
        process_group.kill(self._process)

    def _escalate(self) -> None:
        if self._fault is None and not self._has_said_hello and not self._is_cancelling:
            self._next_step_s = None
            self._fail(
                WorkerCrashedError(
                    f"The worker did not answer within {self._deadlines.hello_s:g} s.",
                    hint=f"See {self._log_path}.",
                )
            )
        elif self._fault is None:
            self._fault = WorkerCrashedError("The worker was terminated.")
            self._next_step_s = time.monotonic() + self._deadlines.terminate_s
            process_group.terminate(self._process)
        else:
            self._next_step_s = None
            process_group.kill(self._process)

    def _last_words_of_the_dead(self) -> list[Message]:
        """The terminal event of the job that the process took with it, if there was one."""
        exit_status = self._process.wait()
        self._next_step_s = None
        fault = self._fault = self._fault or crashed("The worker", exit_status, self._log_path)
        job_id, was_cancelling = self._job_id, self._is_cancelling
        self._forget_job()
        if job_id is None:
            return []
        if was_cancelling:
            return [{"type": "cancelled", "job_id": job_id, "was_forced": True}]
        return [
            {
                "type": "error",
                "job_id": job_id,
                "code": fault.code,
                "message": fault.message,
                "hint": fault.hint,
                "detail_path": str(self._log_path),
            }
        ]

    def _forget_job(self) -> None:
        self._job_id = None
        self._is_cancelling = False
        if self._fault is None:
            self._next_step_s = None
