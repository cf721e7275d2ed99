# SPDX-License-Identifier: GPL-3.0-or-later
"""The queue with real worker processes that need no models."""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from one2345_blender.client.environment import WorkerLaunch
from one2345_blender.client.job_queue import Job, JobQueue
from one2345_blender.client.job_state import JobStatus
from one2345_blender.contracts.errors import EnvironmentMissingError, OutputError
from one2345_blender.contracts.job import JobSpec
from one2345_blender.contracts.job_folder import PHOTO_PNG
from tests.client.test_worker_process import fake_launch


class Bench:
    """A queue whose worker's mode can be changed, and which notes every process it had."""

    def __init__(self, folder: Path) -> None:
        self.mode = "ok"
        self.folder = folder
        self.queue = JobQueue(launch=self._launch, working_dir=lambda: folder)

    def _launch(self) -> WorkerLaunch:
        if self.mode == "missing":
            raise EnvironmentMissingError("There is none.")
        return fake_launch(self.mode)

    def add(self, name: str) -> Job:
        return self.queue.add(
            JobSpec(
                job_id=name,
                image_path=self.folder / "a.png",
                output_dir=self.folder / f"{name}-out",
            )
        )

    def step_until(self, is_reached: Callable[[], object]) -> list[Job]:
        ended: list[Job] = []
        deadline_s = time.monotonic() + 60.0
        while not is_reached():
            assert time.monotonic() < deadline_s
            ended += self.queue.step()
            time.sleep(0.01)
        return ended

    def pids(self) -> set[int]:
        """Ids of the worker processes alive, as they say themselves."""
        return {
            int(path.name)
            for path in Path("/proc").glob("[0-9]*")
            if "fake_worker" in _command_line(path) and _parent_pid(path) == os.getpid()
        }


def _command_line(process: Path) -> str:
    try:
        return (process / "cmdline").read_text()
    except OSError:
        return ""


def _parent_pid(process: Path) -> int:
    try:
        return int((process / "stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(tmp_path)
    yield bench
    bench.queue.close()


def statuses(jobs: list[Job]) -> list[str]:
    return [job.state.status.value for job in jobs]


def test_jobs_run_in_order_one_at_a_time_and_end_once(bench: Bench) -> None:
    jobs = [bench.add(name) for name in "abc"]
    running_at_once: list[int] = []

    def is_over() -> bool:
        running_at_once.append(sum(status == "running" for status in statuses(jobs)))
        return not bench.queue.is_busy

    assert bench.step_until(is_over) == jobs
    assert statuses(jobs) == ["done"] * 3
    assert max(running_at_once) <= 1


def test_a_waiting_job_is_cancelled_at_once_and_the_others_go_on(bench: Bench) -> None:
    first, second, third = (bench.add(name) for name in "abc")
    bench.queue.step()
    bench.queue.cancel(second)
    assert second.state.status is JobStatus.CANCELLED
    bench.step_until(lambda: not bench.queue.is_busy)
    assert statuses([first, second, third]) == ["done", "cancelled", "done"]
    assert not (bench.folder / "b-out" / "mesh.npz").exists()


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_one_worker_serves_all_jobs_until_it_is_unloaded(bench: Bench) -> None:
    first = bench.add("a")
    bench.step_until(lambda: first.state.is_final)
    (warm,) = bench.pids()
    second = bench.add("b")
    bench.step_until(lambda: second.state.is_final)
    assert bench.pids() == {warm} and bench.queue.is_warm
    bench.queue.unload()
    assert not bench.queue.is_warm
    bench.step_until(lambda: not bench.queue.has_process)
    assert bench.pids() == set()


def test_an_idle_worker_is_let_go_after_a_while_but_not_one_at_work(bench: Bench) -> None:
    bench.mode = "slow"
    bench.queue.idle_timeout_s = 0.5
    job = bench.add("a")
    bench.step_until(lambda: not bench.queue.has_process and not bench.queue.is_busy)
    assert job.state.status is JobStatus.DONE


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_cancelling_the_last_job_lets_the_worker_go_but_not_if_others_wait(bench: Bench) -> None:
    bench.mode = "slow"
    first, second = bench.add("a"), bench.add("b")
    bench.step_until(lambda: first.state.stage)
    bench.queue.cancel(first)
    bench.step_until(lambda: second.state.stage)
    assert statuses([first, second]) == ["cancelled", "running"]
    (worker,) = bench.pids()
    bench.queue.cancel(second)
    deadline_s = time.monotonic() + 60.0
    while worker in bench.pids():  # it does not take a step of the queue
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    bench.step_until(lambda: not bench.queue.has_process)
    assert statuses([first, second]) == ["cancelled", "cancelled"]


def test_a_result_on_its_way_while_the_user_cancels_is_dropped(bench: Bench) -> None:
    job = bench.add("a")
    bench.queue.step()
    deadline_s = time.monotonic() + 60.0
    while not (job.spec.output_dir / PHOTO_PNG).exists():  # nothing comes after it but the result
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    bench.queue.cancel(job)
    assert bench.step_until(lambda: job.state.is_final) == [job]
    assert job.state.status is JobStatus.CANCELLED and job.state.files is None


def test_a_worker_that_ignores_everything_is_ended_and_the_next_job_runs(bench: Bench) -> None:
    bench.mode = "hangs"
    first = bench.add("a")
    bench.step_until(lambda: first.state.stage)
    bench.queue.cancel(first)
    bench.mode = "ok"
    second = bench.add("b")
    bench.step_until(lambda: not bench.queue.is_busy)
    assert statuses([first, second]) == ["cancelled", "done"] and first.state.was_forced


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_killed_worker_fails_its_job_and_the_next_has_a_new_one(bench: Bench) -> None:
    bench.mode = "is_killed"
    first = bench.add("a")
    bench.step_until(lambda: first.state.is_final)
    bench.mode = "ok"
    second = bench.add("b")
    bench.step_until(lambda: not bench.queue.is_busy)
    assert statuses([first, second]) == ["failed", "done"]
    assert first.state.failure is not None and "memory" in first.state.failure.message


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_a_worker_killed_while_idle_is_replaced(bench: Bench) -> None:
    first = bench.add("a")
    bench.step_until(lambda: first.state.is_final)
    (warm,) = bench.pids()
    os.kill(warm, signal.SIGKILL)
    bench.step_until(lambda: not bench.queue.has_process)
    second = bench.add("b")
    bench.step_until(lambda: second.state.is_final)
    assert second.state.status is JobStatus.DONE


def test_a_pause_puts_the_job_back_and_resume_starts_it_anew(bench: Bench) -> None:
    bench.mode = "slow"
    job, cancelled = bench.add("a"), bench.add("b")
    bench.step_until(lambda: job.state.stage)
    bench.queue.cancel(cancelled)
    bench.queue.pause()
    assert job.state.status is JobStatus.WAITING
    bench.step_until(lambda: not bench.queue.has_process)
    assert job.state.status is JobStatus.WAITING
    bench.queue.resume()
    assert bench.step_until(lambda: not bench.queue.is_busy) == [job]
    assert job.state.status is JobStatus.DONE


def test_what_cannot_start_is_told_when_it_is_asked_for(bench: Bench) -> None:
    bench.mode = "missing"
    with pytest.raises(EnvironmentMissingError):
        bench.add("a")
    bench.mode = "ok"
    (bench.folder / "b-out").touch()
    with pytest.raises(OutputError):
        bench.add("b")
    assert bench.queue.jobs == []


def test_a_python_that_vanishes_while_a_job_waits_fails_that_job(bench: Bench) -> None:
    job = bench.add("a")
    bench.mode = "missing"
    assert bench.queue.step() == [job]
    assert job.state.failure is not None and job.state.failure.message == "There is none."


@pytest.mark.skipif(not Path("/proc/self").exists(), reason="looks into /proc")
def test_close_leaves_no_process_and_no_job(bench: Bench) -> None:
    bench.mode = "hangs"
    job = bench.add("a")
    bench.step_until(lambda: job.state.stage)
    assert len(bench.pids()) == 1
    bench.queue.close()
    assert bench.pids() == set() and bench.queue.jobs == []


def test_only_ended_jobs_are_forgotten(bench: Bench) -> None:
    job = bench.add("a")
    bench.queue.forget(job)
    assert bench.queue.jobs == [job]
    bench.step_until(lambda: job.state.is_final)
    bench.queue.forget(job)
    assert bench.queue.jobs == []


def test_progress_rises_to_one_and_the_next_job_goes_by_the_last_one_s_times(bench: Bench) -> None:
    bench.mode = "slow"
    first, second = bench.add("a"), bench.add("b")
    fractions: list[float] = []
    lefts: list[float | None] = []

    def is_over() -> bool:
        fractions.append(first.fraction)
        lefts.append(first.seconds_left)
        return first.state.is_final

    bench.step_until(is_over)
    assert fractions == sorted(fractions) and fractions[0] == 0.0 and fractions[-1] == 1.0
    assert lefts[0] is None and max(left for left in lefts if left is not None) > 0.0
    bench.step_until(lambda: second.state.stage)
    assert first.state.report is not None
    assert second.stage_seconds == first.state.report["stage_seconds"] != first.stage_seconds
