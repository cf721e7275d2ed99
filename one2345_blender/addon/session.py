# SPDX-License-Identifier: GPL-3.0-or-later
"""The one live job and the worker that stays warm between jobs; Blender's main thread only."""

from __future__ import annotations

import time
from pathlib import Path

import bpy

from ..client.environment import WorkerLaunch, current_launch
from ..client.job_state import JobState, JobStatus, advance, cancel_requested, failed
from ..client.worker_process import WorkerProcess
from ..contracts.errors import One2345Error, OptionError, OutputError
from ..contracts.job import JobSpec
from ..contracts.job_folder import WORKER_LOG, prepare_output_dir
from . import preferences, viewport
from .place_result import Placement, place_result

_POLL_INTERVAL_S = 0.1


class Session:
    """Runs one job at a time in a worker process."""

    def __init__(self) -> None:
        self.state: JobState | None = None
        """The job under way, or the last one."""
        self._placement: Placement | None = None
        self._worker: WorkerProcess | None = None
        self._launch: WorkerLaunch | None = None

    @property
    def is_busy(self) -> bool:
        """True while a job has not had its last word."""
        return self.state is not None and not self.state.is_final

    def start(self, spec: JobSpec, placement: Placement) -> None:
        """Send a job to the worker, starting that if need be.

        Raises:
            OptionError: A job is already under way.
            EnvironmentMissingError: There is no Python to run the worker.
            OutputError: The job's folder cannot be written to.
        """
        if self.is_busy:
            raise OptionError("A conversion is already under way.", hint="Wait or cancel it.")
        prepare_output_dir(spec.output_dir)
        self._usable_worker().run(spec.to_dict())
        self.state = JobState(job_id=spec.job_id)
        self._placement = placement

    def step(self) -> JobState | None:
        """Take in what the worker said; a result goes into the scene."""
        if self._worker is None or self.state is None:
            return self.state
        for event in self._worker.poll():
            was_busy = self.is_busy
            self.state = advance(self.state, event)
            if was_busy and self.state.status is JobStatus.DONE:
                self.state = self._placed(self.state)
        return self.state

    def wait(self) -> JobState:
        """Block until the job under way is over; an interrupt (Ctrl-C) ends the worker."""
        try:
            while self.is_busy:
                self.step()
                time.sleep(_POLL_INTERVAL_S / 2)
        except KeyboardInterrupt:
            self.close()
            raise
        assert self.state is not None
        return self.state

    def cancel(self) -> None:
        """Ask the job under way to stop."""
        if self._worker is not None and self.state is not None:
            self.state = cancel_requested(self.state)
            self._worker.cancel()

    def close(self) -> None:
        """End the worker and forget the job under way."""
        if self._worker is not None:
            self._worker.close()
        self._worker = self._launch = self.state = self._placement = None

    def _usable_worker(self) -> WorkerProcess:
        """The warm worker if it still is what the preferences ask for, else a new one."""
        launch = current_launch(
            preferred=preferences.preferred_python(), runtime_dir=preferences.runtime_dir()
        )
        if self._worker is not None:
            if self._worker.is_usable and launch == self._launch:
                return self._worker
            self._worker.close()
        folder = Path(bpy.app.tempdir)
        self._worker = WorkerProcess(launch, working_dir=folder, log_path=folder / WORKER_LOG)
        self._launch = launch
        return self._worker

    def _placed(self, state: JobState) -> JobState:
        """The state after the result went into the scene, or failed to."""
        assert self._placement is not None and state.files is not None
        assert state.report is not None
        try:
            place_result(state.files, state.report, self._placement)
        except One2345Error as error:
            return failed(state, error)
        except KeyError as error:
            hint = "Re-install the worker from the add-on's preferences."
            return failed(state, OutputError(f"The worker's result lacks {error}.", hint=hint))
        except RuntimeError as error:  # bpy's own
            hint = "Convert the picture again."
            return failed(state, OutputError(f"Blender refused the result: {error}", hint=hint))
        return state


SESSION = Session()


def watch() -> None:
    """Follow the job under way with a timer, so that Blender stays responsive."""
    bpy.app.timers.register(_tick, first_interval=_POLL_INTERVAL_S)


def attach() -> None:
    """Called when the add-on is registered."""
    bpy.app.handlers.load_pre.append(_end_with_the_file)


def detach() -> None:
    """Called when the add-on is unregistered."""
    bpy.app.handlers.load_pre.remove(_end_with_the_file)
    if bpy.app.timers.is_registered(_tick):
        bpy.app.timers.unregister(_tick)
    SESSION.close()


def _tick() -> float | None:
    SESSION.step()
    viewport.redraw()
    return _POLL_INTERVAL_S if SESSION.is_busy else None


@bpy.app.handlers.persistent
def _end_with_the_file(*_arguments: object) -> None:
    """Another file is being opened: a job must not end up in it."""
    if SESSION.is_busy:
        SESSION.close()
