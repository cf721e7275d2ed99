# SPDX-License-Identifier: GPL-3.0-or-later
"""One worker process: started, listened to without blocking, and ended for sure."""

from __future__ import annotations

import subprocess
from dataclasses import dataclass
from pathlib import Path

from ..contracts.errors import One2345Error, ProtocolError, WorkerCrashedError
from ..contracts.messages import PROTOCOL_VERSION, TERMINAL_EVENTS, Message, encode_line
from .crash import crashed
from .deadline import Deadline
from .environment import WorkerLaunch
from .event_process import Ended, EventProcess


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
    one made here when the worker dies, breaks the protocol or has to be killed. The deadlines are
    kept whether `poll` is called or not.
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
        self._job_id: str | None = None
        self._is_job_over = True
        """Set by the thread that reads events, before `poll` hears of the job's last word."""
        self._is_cancelling = False
        self._has_said_hello = False
        self._is_dismissed = False
        self.versions: dict[str, str] = {}
        """Of the worker's Python and packages, once it has said hello."""
        self._fault: One2345Error | None = None
        self._hello_deadline = Deadline()
        self._cancel_deadline = Deadline()
        self._leave_deadline = Deadline()
        self._process = EventProcess(
            launch,
            stdin=subprocess.PIPE,
            log_path=log_path,
            log_mode="ab",
            working_dir=working_dir,
        )
        self._hello_deadline.set(self._deadlines.hello_s, self._give_up_mute)
        self._process.listen(self._lift_deadlines)

    @property
    def is_usable(self) -> bool:
        """True while the process can take another job."""
        return not self._is_dismissed and self._fault is None and not self._process.is_gone

    @property
    def is_gone(self) -> bool:
        """True once the process has ended."""
        return self._process.is_gone

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
        self._job_id, self._is_job_over = job["job_id"], False
        self._send({"type": "run", "job": job})

    def cancel(self) -> None:
        """Ask the current job to stop; a worker that does not stop it in time is ended."""
        if self._job_id is None or self._is_cancelling:
            return
        self._is_cancelling = True
        self._cancel_deadline.set(self._deadlines.cancel_s, self._terminate)
        if self._is_job_over:  # the thread that reads may have had nothing to lift
            self._cancel_deadline.lift()
        self._send({"type": "cancel", "job_id": self._job_id})

    def poll(self) -> list[Message]:
        """The events that arrived since the last call."""
        events: list[Message] = []
        for arrival in self._process.arrivals():
            if isinstance(arrival, Ended):
                events += self._last_words_of_the_dead(arrival.exit_status)
            elif isinstance(arrival, One2345Error):
                self._fail(arrival)
            else:
                events += self._take(arrival)
        return events

    def dismiss(self) -> None:
        """Ask the process to end, with its job; one that does not in time is killed."""
        if self._is_dismissed:
            return
        self._is_dismissed = True
        job_s = 0.0 if self._is_job_over else self._deadlines.cancel_s
        self._leave_deadline.set(job_s + self._deadlines.terminate_s, self._process.kill)
        self._send({"type": "shutdown"})

    def close(self, *, timeout_s: float = 0.5) -> None:
        """End the process: ask, then kill. Blocks, at most `timeout_s` and a little."""
        self.dismiss()
        self._process.wait(timeout_s)
        self._process.close_stdin()
        for deadline in (self._hello_deadline, self._cancel_deadline, self._leave_deadline):
            deadline.lift()

    def _send(self, command: Message) -> None:
        self._process.send(encode_line(command))

    def _lift_deadlines(self, event: Message) -> None:
        """Runs in the thread that reads events."""
        if event["type"] == "hello":
            self._hello_deadline.lift()
        elif event["type"] in TERMINAL_EVENTS and event["job_id"] == self._job_id:
            self._is_job_over = True
            self._cancel_deadline.lift()

    def _give_up_mute(self) -> None:
        """Runs in the thread that keeps the deadline."""
        self._process.give_up(
            WorkerCrashedError(
                f"The worker did not answer within {self._deadlines.hello_s:g} s.",
                hint=f"See {self._log_path}.",
            )
        )

    def _terminate(self) -> None:
        """Runs in the thread that keeps the deadline."""
        self._cancel_deadline.set(self._deadlines.terminate_s, self._process.kill)
        self._process.terminate()

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
                    hint="Remove Runtime, then Install Runtime…, in the extension's preferences.",
                )
            )
            return
        self._has_said_hello = True
        self.versions = {str(name): str(value) for name, value in hello["versions"].items()}

    def _fail(self, fault: One2345Error) -> None:
        """Give the worker up; its job ends with `fault` once the process is gone."""
        self._fault = self._fault or fault
        self._process.kill()

    def _last_words_of_the_dead(self, exit_status: int) -> list[Message]:
        """The terminal event of the job that the process took with it, if there was one."""
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
