# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue of conversions and what becomes of their results; Blender's main thread only."""

from __future__ import annotations

import logging
import os
import threading
import time
from collections.abc import Iterable
from pathlib import Path

import bpy

from ..client.environment import WorkerLaunch, worker_launch
from ..client.job_queue import Job, JobQueue
from ..client.job_state import failed
from ..contracts.errors import One2345Error, OutputError
from ..contracts.job import JobSpec
from . import notices, preferences, timers, viewport
from .free_place import Taken
from .installation import worker_python
from .place_result import Placement, place_result, places_taken
from .preview_icons import PREVIEW_ICONS, cutout_path

_LOGGER = logging.getLogger(__name__)
_POLL_INTERVAL_S = 0.1
_IDLE_POLL_INTERVAL_S = 1.0


class Session:
    """Runs conversions one after the other and puts their results into the scene."""

    def __init__(self) -> None:
        self.queue = JobQueue(launch=_launch, working_dir=lambda: Path(bpy.app.tempdir))
        self._placements: dict[str, Placement] = {}
        self._unplaced: list[Job] = []
        """Done, but the user was in the middle of something, or their scene is not open."""
        self.object_names: dict[str, str] = {}
        """By job id: the object that a job's result became."""
        self.untold: list[Job] = []
        """Those that failed since the queue began to work."""
        self._lock = threading.RLock()
        """A render makes room from its own thread; everything else happens in the main thread."""

    @property
    def jobs(self) -> list[Job]:
        """All that are remembered, the oldest first."""
        return self.queue.jobs

    @property
    def is_busy(self) -> bool:
        """True while a job has not had its last word."""
        return self.queue.is_busy

    @property
    def is_awake(self) -> bool:
        """True while there is anything to look after."""
        return self.queue.is_busy or self.queue.has_process or self._has_result_to_place()

    def start(self, spec: JobSpec, placement: Placement | None) -> Job:
        """Queue a job; without a placement its result goes into no scene.

        Raises:
            EnvironmentMissingError: There is no Python to run the worker.
            OutputError: The job's folder cannot be written to.
        """
        with self._lock:
            job = self.queue.add(spec)
        if placement is not None:
            self._placements[spec.job_id] = placement
        return job

    def find(self, job_id: str) -> Job | None:
        """The job with that id, if it is remembered."""
        return next((job for job in self.jobs if job.spec.job_id == job_id), None)

    def step(self) -> list[Job]:
        """Take in what the worker said; results go into their scenes.

        Returns:
            The jobs that ended, or whose results were placed or could not be.
        """
        self.queue.idle_timeout_s = preferences.idle_timeout_s()
        is_rendering = viewport.is_rendering()
        with self._lock:
            if is_rendering and preferences.makes_room_for_render():
                self.queue.pause()
            else:
                self.queue.resume()
            ended = self.queue.step()
        self._unplaced += [job for job in ended if self.can_place(job)]
        for job in list(self._unplaced):
            if self.has_scene(job) and not is_rendering and not viewport.is_user_busy():
                self._place(job)
                if job not in ended:
                    ended.append(job)
        return ended

    def make_room(self) -> None:
        """Give memory and processor back at once; a job under way starts anew. From any thread."""
        with self._lock:
            self.queue.pause()
            self.queue.end_processes()

    def unload(self) -> None:
        """Let an idle worker go."""
        with self._lock:
            self.queue.unload()

    def end_idle_worker(self) -> None:
        """Let an idle worker go and wait until it is gone."""
        with self._lock:
            self.queue.end_processes()

    def has_scene(self, job: Job) -> bool:
        """True while the scene that a job's result is meant for is open."""
        placement = self._placements.get(job.spec.job_id)
        return placement is not None and placement.scene is not None

    def places_taken(self, scene: bpy.types.Scene) -> list[Taken]:
        """Where objects of ours stand, or will."""
        to_come = [
            self._placements[job.spec.job_id]
            for job in self.jobs
            if job.spec.job_id in self._placements
            and (not job.state.is_final or job in self._unplaced)
        ]
        kept = [place.taken for place in to_come if place.scene_uid == scene.session_uid]
        return places_taken(scene) + kept

    def can_place(self, job: Job) -> bool:
        """True for a finished job whose result is meant for a scene."""
        return job.state.files is not None and self.is_for_a_scene(job)

    def is_for_a_scene(self, job: Job) -> bool:
        """True unless its result is for nobody to see, as a self-test's."""
        return job.spec.job_id in self._placements

    def is_unplaced(self, job: Job) -> bool:
        """True for a result that waits to be placed."""
        return job in self._unplaced

    def place_here(self, job: Job, scene: bpy.types.Scene) -> None:
        """Put a result that waits into a scene, which may be another than was asked for."""
        asked = self._placements.pop(job.spec.job_id)
        taken = self.places_taken(scene)
        self._placements[job.spec.job_id] = asked.moved_to(scene, taken)
        self._place(job)

    def wait(self, jobs: Iterable[Job]) -> None:
        """Block until these jobs are over; an interrupt (Ctrl-C) ends the worker."""
        try:
            while any(not job.state.is_final for job in jobs):
                self.step()
                time.sleep(_POLL_INTERVAL_S / 2)
        except KeyboardInterrupt:
            self.close()
            raise

    def cancel(self, job: Job) -> None:
        """Take a job out of the queue, or stop it."""
        with self._lock:
            self.queue.cancel(job)

    def forget(self, job: Job) -> None:
        """Drop a job that has ended."""
        with self._lock:
            self.queue.forget(job)
        PREVIEW_ICONS.forget(job)
        if job in self._unplaced:
            self._unplaced.remove(job)
        self._placements.pop(job.spec.job_id, None)
        self.object_names.pop(job.spec.job_id, None)

    def close(self) -> None:
        """End the worker and forget all jobs."""
        with self._lock:
            self.queue.close()
        self._placements.clear()
        self._unplaced.clear()
        self.untold.clear()
        self.object_names.clear()

    def _has_result_to_place(self) -> bool:
        return any(map(self.has_scene, self._unplaced))

    def _place(self, job: Job) -> None:
        """Put a result into its scene; a job whose result cannot be placed has failed."""
        state, job_id = job.state, job.spec.job_id
        assert state.files is not None and state.report is not None
        if job in self._unplaced:
            self._unplaced.remove(job)
        try:
            placed = place_result(
                state.files,
                state.report,
                self._placements[job_id],
                cutout_path=cutout_path(job),
            )
        except Exception as error:  # whatever it is, the next job's turn must come
            if not isinstance(error, One2345Error):
                _LOGGER.exception("The result of %s could not be placed.", job.spec.image_path)
            job.state = failed(state, _for_people(error))
        else:
            self.object_names[job_id] = placed.name


def _for_people(error: Exception) -> One2345Error:
    if isinstance(error, One2345Error):
        return error
    if isinstance(error, KeyError):
        return OutputError(
            f"The worker's result lacks {error}.",
            hint="Remove Runtime, then Install Runtime…, in the extension's preferences.",
        )
    return OutputError(
        f"The result could not be put into the scene: {type(error).__name__}: {error}",
        hint="Convert the picture again. Blender's console has the details, for a bug report.",
    )


def _launch() -> WorkerLaunch:
    return worker_launch(worker_python(), os.environ)


SESSION = Session()


def watch() -> None:
    """Look after the queue with a timer."""
    timers.start(_tick, _POLL_INTERVAL_S)


def attach() -> None:
    """Called when the add-on is registered."""
    bpy.app.handlers.render_init.append(_make_room_for_render)


def detach() -> None:
    """Called when the add-on is unregistered, and so when Blender quits."""
    bpy.app.handlers.render_init.remove(_make_room_for_render)
    timers.stop(_tick)
    SESSION.close()


def _tick() -> float | None:
    SESSION.untold += [
        ended
        for ended in SESSION.step()
        if ended.state.failure is not None and SESSION.is_for_a_scene(ended)
    ]
    if SESSION.untold and not SESSION.is_busy:
        notices.tell_failures(SESSION.untold)
        SESSION.untold.clear()
    if (job := SESSION.queue.current) is not None:
        PREVIEW_ICONS.read_next(job)
    viewport.redraw()
    if not SESSION.is_awake:
        return None
    return _POLL_INTERVAL_S if SESSION.is_busy else _IDLE_POLL_INTERVAL_S


@bpy.app.handlers.persistent
def _make_room_for_render(*_arguments: object) -> None:
    """A render begins, in the thread that this is called from; `step` sees when it is over."""
    if preferences.makes_room_for_render():
        SESSION.make_room()
