# SPDX-License-Identifier: GPL-3.0-or-later
"""Jobs in the order in which they were asked for, and the one worker that does them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ..contracts.errors import One2345Error
from ..contracts.job import JobSpec
from ..contracts.job_folder import WORKER_LOG, prepare_output_dir
from ..contracts.messages import Message
from .environment import WorkerLaunch
from .job_state import JobState, JobStatus, advance, cancel_requested, failed, sent
from .time_estimate import TYPICAL_STAGE_SECONDS, StageSeconds, fraction_done, seconds_left
from .worker_process import WorkerProcess


@dataclass(kw_only=True)
class Job:
    """One conversion: what was asked for, and how it stands."""

    spec: JobSpec
    state: JobState
    stage_seconds: StageSeconds = field(default_factory=lambda: TYPICAL_STAGE_SECONDS)
    """What each stage is expected to take."""
    working_since_s: float | None = None
    """When the networks were loaded, on the monotonic clock."""

    @property
    def fraction(self) -> float:
        """How far it is, 0..1."""
        return fraction_done(self.state, self.stage_seconds)

    @property
    def seconds_left(self) -> float | None:
        """How long it will still take; None: too early to tell."""
        if self.working_since_s is None or self.state.is_final:
            return None
        working_seconds = time.monotonic() - self.working_since_s
        return seconds_left(self.state, self.stage_seconds, working_seconds)


class JobQueue:
    """One job runs, the others wait. Every method is called from one thread and returns at once.

    The worker stays warm between jobs. It is let go when it was idle for `idle_timeout_s`, when
    the last job was cancelled, and when the caller says so.
    """

    def __init__(
        self, *, launch: Callable[[], WorkerLaunch], working_dir: Callable[[], Path]
    ) -> None:
        """An empty queue.

        Args:
            launch: How to start a worker now; may raise `EnvironmentMissingError`. Where its
                answer changes, the next job gets a new worker.
            working_dir: The worker's working directory, which holds its log.
        """
        self.jobs: list[Job] = []
        """The oldest first; those that ended stay until `forget`."""
        self.idle_timeout_s = float("inf")
        self.is_paused = False
        """True between `pause` and `resume`."""
        self.worker_versions: dict[str, str] = {}
        """What the last worker said of its Python and packages."""
        self._current_launch = launch
        self._working_dir = working_dir
        self._worker: WorkerProcess | None = None
        self._launch: WorkerLaunch | None = None
        self._leaving: list[WorkerProcess] = []
        self._idle_since_s = time.monotonic()
        self._stage_seconds: dict[str, StageSeconds] = {}
        """By preset: the times of its last conversion."""

    @property
    def current(self) -> Job | None:
        """The job that a worker has."""
        begun = (job for job in self.jobs if job.state.status is not JobStatus.WAITING)
        return next((job for job in begun if not job.state.is_final), None)

    @property
    def waiting(self) -> list[Job]:
        """Those whose turn has not come."""
        return [job for job in self.jobs if job.state.status is JobStatus.WAITING]

    @property
    def is_busy(self) -> bool:
        """True while any job has not had its last word."""
        return any(not job.state.is_final for job in self.jobs)

    @property
    def has_process(self) -> bool:
        """True while a worker is alive, a dismissed one included."""
        return self._worker is not None or bool(self._leaving)

    @property
    def is_warm(self) -> bool:
        """True while a worker stands ready without a job."""
        return self._worker is not None and self.current is None

    def add(self, spec: JobSpec) -> Job:
        """Queue a job; `step` starts it.

        Raises:
            EnvironmentMissingError: There is no Python to run the worker.
            OutputError: The job's folder cannot be written to.
        """
        self._current_launch()
        prepare_output_dir(spec.output_dir)
        job = Job(spec=spec, state=JobState(job_id=spec.job_id))
        self.jobs.append(job)
        return job

    def cancel(self, job: Job) -> None:
        """Take the job out of the queue, or ask the worker to stop it; if no other job waits, the
        worker ends with it, and its memory is free again."""
        job.state = cancel_requested(job.state)
        current = self.current
        if current is None or current.state.status is not JobStatus.CANCELLING:
            return
        if self._worker is not None:
            self._worker.cancel()
            if not self.waiting:
                self._worker.dismiss()

    def forget(self, job: Job) -> None:
        """Drop a job that has ended."""
        if job.state.is_final:
            self.jobs.remove(job)

    def step(self) -> list[Job]:
        """Take in what the worker said and start the next job; the jobs that ended."""
        self._see_off()
        ended = self._advance_current()
        while self.current is None and self.waiting and not self.is_paused:
            job = self.waiting[0]
            self._start(job)
            if job.state.is_final:
                ended.append(job)
        if self.current is not None:
            self._idle_since_s = time.monotonic()
        elif time.monotonic() - self._idle_since_s > self.idle_timeout_s:
            self.unload()
        return ended

    def unload(self) -> None:
        """Let an idle worker go, and the memory of its networks with it."""
        if self._worker is not None and self.current is None:
            self._worker.dismiss()
            self._leaving.append(self._worker)
            self._worker = None

    def pause(self) -> None:
        """Give memory and processor back until `resume`; the job under way will start anew."""
        self.is_paused = True
        if (job := self.current) is not None:
            is_cancelling = job.state.status is JobStatus.CANCELLING
            job.state = JobState(job_id=job.spec.job_id)
            if is_cancelling:
                job.state = cancel_requested(job.state)
        self.unload()

    def resume(self) -> None:
        """Go on after `pause`."""
        self.is_paused = False

    def close(self) -> None:
        """End the worker and forget all jobs. Blocks for half a second at most."""
        self.jobs.clear()
        self.is_paused = False
        self.end_processes()

    def end_processes(self) -> None:
        """Let the idle worker go and wait until no process is left, half a second at most."""
        self.unload()
        for worker in self._leaving:
            worker.close()
        self._leaving.clear()

    def _see_off(self) -> None:
        """Forget dismissed workers that are gone."""
        for worker in list(self._leaving):
            if worker.is_gone:
                worker.close()
                self._leaving.remove(worker)

    def _advance_current(self) -> list[Job]:
        job = self.current
        if self._worker is None:
            return []
        events = self._worker.poll()
        self.worker_versions = self._worker.versions or self.worker_versions
        for event in events:
            if job is not None:
                job.state = advance(job.state, _as_wanted(job.state, event))
                if job.working_since_s is None and job.state.stage_index > 0:
                    job.working_since_s = time.monotonic()
        ended = [job] if job is not None and job.state.is_final else []
        if job is not None and job.state.report is not None:
            seconds = job.state.report.get("stage_seconds", TYPICAL_STAGE_SECONDS)
            self._stage_seconds[job.spec.preset] = seconds
        if not self._worker.is_usable:
            self.unload()
        return ended

    def _start(self, job: Job) -> None:
        try:
            self._usable_worker().run(job.spec.to_dict())
        except One2345Error as error:
            job.state = failed(job.state, error)
        else:
            job.state = sent(job.state)
            job.stage_seconds = self._stage_seconds.get(job.spec.preset, TYPICAL_STAGE_SECONDS)
            job.working_since_s = None

    def _usable_worker(self) -> WorkerProcess:
        """The warm worker if it still is what the user asks for, else a new one."""
        launch = self._current_launch()
        if self._worker is not None:
            if self._worker.is_usable and launch == self._launch:
                return self._worker
            self.unload()
        folder = self._working_dir()
        self._worker = WorkerProcess(launch, working_dir=folder, log_path=folder / WORKER_LOG)
        self._launch = launch
        return self._worker


def _as_wanted(state: JobState, event: Message) -> Message:
    """The event; a result that was on its way while the user cancelled is not wanted any more."""
    if event["type"] == "result" and state.status is JobStatus.CANCELLING:
        return {"type": "cancelled", "job_id": event["job_id"]}
    return event
