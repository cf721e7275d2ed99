# SPDX-License-Identifier: GPL-3.0-or-later
"""The client against a real child process that behaves, or does not."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from one2345_blender.client.environment import WorkerLaunch, worker_launch
from one2345_blender.client.worker_process import Deadlines, WorkerProcess
from one2345_blender.contracts.errors import EnvironmentMissingError, ProtocolError
from one2345_blender.contracts.job import JobSpec
from one2345_blender.contracts.messages import TERMINAL_EVENTS, Message
from one2345_blender.contracts.progress import STAGES

FAKE_WORKER = Path(__file__).parents[1] / "fake_worker.py"
IMPATIENT = Deadlines(hello_s=30.0, cancel_s=0.5, terminate_s=0.5)

Start = Callable[..., WorkerProcess]


def fake_launch(mode: str) -> WorkerLaunch:
    real = worker_launch(Path(sys.executable), os.environ)
    argv = (*real.argv[:-2], str(FAKE_WORKER))
    clock = {name: os.environ[name] for name in ("LD_PRELOAD", "JUMP_S") if name in os.environ}
    return WorkerLaunch(argv=argv, env={**real.env, **clock, "ONE2345_FAKE_MODE": mode})


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    workers: list[WorkerProcess] = []

    def start_worker(mode: str, deadlines: Deadlines = IMPATIENT) -> WorkerProcess:
        worker = WorkerProcess(
            fake_launch(mode),
            working_dir=tmp_path,
            log_path=tmp_path / "worker.log",
            deadlines=deadlines,
        )
        workers.append(worker)
        return worker

    yield start_worker
    for worker in workers:
        worker.close(timeout_s=0.5)


def job(tmp_path: Path, job_id: str = "job-1") -> Message:
    spec = JobSpec(
        job_id=job_id, image_path=tmp_path / "photo ä.png", output_dir=tmp_path / "out put"
    )
    return spec.to_dict()


def events_until(
    worker: WorkerProcess, stop: Callable[[Message], bool], timeout_s: float = 20.0
) -> list[Message]:
    events: list[Message] = []
    deadline_s = time.monotonic() + timeout_s
    while time.monotonic() < deadline_s:
        for event in worker.poll():
            events.append(event)
        if any(stop(event) for event in events):
            return events
        time.sleep(0.01)
    pytest.fail(f"the awaited event did not come; got {events}")


def is_terminal(event: Message) -> bool:
    return event["type"] in TERMINAL_EVENTS


def last_word(worker: WorkerProcess) -> Message:
    events = events_until(worker, is_terminal)
    time.sleep(0.1)
    events += worker.poll()
    assert [is_terminal(event) for event in events].count(True) == 1
    assert is_terminal(events[-1])
    return events[-1]


def test_a_job_ends_with_its_result_and_the_worker_takes_another(
    start: Start, tmp_path: Path
) -> None:
    worker = start("ok")
    for job_id in ("first", "second"):
        worker.run(job(tmp_path, job_id))
        events = events_until(worker, is_terminal)
        assert [event["type"] for event in events][:2] == ["accepted", "stage"]
        assert {event["job_id"] for event in events} == {job_id}
        assert {"preview", "warning", "progress"} <= {event["type"] for event in events}
        assert Path(events[-1]["files"]["mesh_npz"]).is_file()
    assert worker.is_usable


def test_noise_of_libraries_and_children_stays_off_the_wire(start: Start, tmp_path: Path) -> None:
    worker = start("noisy")
    worker.run(job(tmp_path))
    assert last_word(worker)["type"] == "result"
    log = (tmp_path / "worker.log").read_text()
    assert "a child speaks" in log and "straight to the descriptor" in log


def test_cancel_stops_within_one_step_and_keeps_the_worker(start: Start, tmp_path: Path) -> None:
    worker = start("slow", replace(IMPATIENT, cancel_s=10.0))
    worker.run(job(tmp_path))
    events_until(worker, lambda event: event["type"] == "progress")
    worker.cancel()
    asked_s = time.monotonic()
    assert last_word(worker) == {"type": "cancelled", "job_id": "job-1"}
    assert time.monotonic() - asked_s < 2.0
    assert worker.is_usable
    assert not (tmp_path / "out put" / "mesh.npz").exists()


def test_a_worker_that_ignores_cancel_is_killed(start: Start, tmp_path: Path) -> None:
    worker = start("hangs")
    worker.run(job(tmp_path))
    events_until(worker, lambda event: event["type"] == "stage")
    worker.cancel()
    assert last_word(worker) == {"type": "cancelled", "job_id": "job-1", "was_forced": True}
    assert not worker.is_usable


def wait_without_polling(is_reached: Callable[[], bool]) -> None:
    """As while Blender's main thread is busy."""
    deadline_s = time.monotonic() + 60.0
    while not is_reached():
        assert time.monotonic() < deadline_s
        time.sleep(0.01)


def test_a_worker_that_ignores_cancel_is_killed_while_nobody_polls(
    start: Start, tmp_path: Path
) -> None:
    worker = start("hangs")
    worker.run(job(tmp_path))
    events_until(worker, lambda event: event["type"] == "stage")
    worker.cancel()
    wait_without_polling(lambda: worker.is_gone)
    assert last_word(worker) == {"type": "cancelled", "job_id": "job-1", "was_forced": True}


def test_one_that_heeds_is_left_alone_while_nobody_polls(start: Start, tmp_path: Path) -> None:
    worker = start("slow", replace(IMPATIENT, cancel_s=4.0))
    worker.run(job(tmp_path))
    events_until(worker, lambda event: event["type"] == "progress")
    worker.cancel()
    time.sleep(5.0)
    assert last_word(worker) == {"type": "cancelled", "job_id": "job-1"}
    assert worker.is_usable


@pytest.mark.parametrize("mode", ["slow", "hangs"])
def test_a_dismissed_worker_is_gone_while_nobody_polls(
    start: Start, tmp_path: Path, mode: str
) -> None:
    worker = start(mode, Deadlines())
    worker.run(job(tmp_path))
    events_until(worker, lambda event: event["type"] == "stage")
    worker.cancel()
    worker.dismiss()
    assert not worker.is_usable
    wait_without_polling(lambda: worker.is_gone)
    assert last_word(worker)["type"] == "cancelled"


def test_a_crash_is_reported_with_the_last_forty_lines(start: Start, tmp_path: Path) -> None:
    worker = start("crashes")
    worker.run(job(tmp_path))
    error = last_word(worker)
    assert error["code"] == "worker_crashed"
    assert "exit status 3" in error["message"]
    assert "line 99" in error["message"] and "line 60" in error["message"]
    assert "line 59" not in error["message"]


@pytest.mark.skipif(sys.platform == "win32", reason="POSIX signals")
def test_a_kill_from_outside_suggests_memory(start: Start, tmp_path: Path) -> None:
    worker = start("is_killed")
    worker.run(job(tmp_path))
    assert "out of memory" in last_word(worker)["message"]


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda n: n.name)
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_any_stage(
    start: Start, tmp_path: Path, stage: str, number: signal.Signals
) -> None:
    worker = start(f"stays_in:{stage}")
    worker.run(job(tmp_path))
    events_until(worker, lambda event: event.get("stage") == stage)
    os.kill(worker.pid, number)
    error = last_word(worker)
    assert error["code"] == "worker_crashed" and number.name in error["message"]
    assert not (tmp_path / "out put" / "mesh.npz").exists()


def test_two_at_once_do_not_disturb_each_other(tmp_path: Path) -> None:
    """As two Blenders have them: each worker with a folder of its own."""
    folders = [tmp_path / "one", tmp_path / "two"]
    launch = fake_launch("ok")
    workers = [WorkerProcess(launch, working_dir=f, log_path=f / "worker.log") for f in folders]
    try:
        for worker, folder in zip(workers, folders, strict=True):
            worker.run(job(folder))
        for worker, folder in zip(workers, folders, strict=True):
            assert Path(last_word(worker)["files"]["mesh_npz"]).is_relative_to(folder)
    finally:
        for worker in workers:
            worker.close()


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals, open files deleted")
def test_a_temporary_folder_that_vanishes(tmp_path: Path) -> None:
    """The job goes on; a death is still reported; the next worker makes the folder again."""
    folder = tmp_path / "cleared"
    for mode in ("slow", "stays_in:sdf"):
        worker = WorkerProcess(
            fake_launch(mode), working_dir=folder, log_path=folder / "worker.log"
        )
        worker.run(job(folder))
        events_until(worker, lambda event: event["type"] == "progress")
        shutil.rmtree(folder)
        if mode == "slow":
            assert Path(last_word(worker)["files"]["mesh_npz"]).is_file()
        else:
            os.kill(worker.pid, signal.SIGKILL)
            assert "SIGKILL" in last_word(worker)["message"]
        worker.close()


@pytest.mark.parametrize(
    "mode", ["lies_json", "lies_type", "wrong_protocol", "half_line", "long_line"]
)
def test_a_breach_of_protocol_ends_the_worker(start: Start, tmp_path: Path, mode: str) -> None:
    worker = start(mode)
    worker.run(job(tmp_path))
    assert last_word(worker)["code"] == "protocol"
    assert not worker.is_usable
    with pytest.raises(ProtocolError):
        worker.run(job(tmp_path, "next"))


@pytest.mark.parametrize("mode", ["lies_json", "lies_type", "long_line", "babbles"])
def test_a_breach_of_protocol_ends_the_worker_while_nobody_polls(
    start: Start, tmp_path: Path, mode: str
) -> None:
    """And what it says meanwhile does not pile up here."""
    tracemalloc.start()
    try:
        worker = start(mode)
        worker.run(job(tmp_path))
        wait_without_polling(lambda: worker.is_gone)
        kept_bytes, peak_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert kept_bytes < 1_000_000 and peak_bytes < 20_000_000
    assert last_word(worker)["code"] == "protocol"


def test_only_the_first_last_word_of_the_right_job_counts(start: Start, tmp_path: Path) -> None:
    worker = start("lies_twice")
    worker.run(job(tmp_path))
    assert last_word(worker)["type"] == "result"


def test_a_worker_that_closes_its_wire_and_stays_is_ended(start: Start, tmp_path: Path) -> None:
    worker = start("falls_silent")
    worker.run(job(tmp_path))
    assert last_word(worker)["code"] == "worker_crashed"
    assert worker.is_gone


def test_a_worker_without_hello_is_given_up(start: Start, tmp_path: Path) -> None:
    worker = start("mute", replace(IMPATIENT, hello_s=0.5))
    worker.run(job(tmp_path))
    wait_without_polling(lambda: worker.is_gone)
    error = last_word(worker)
    assert error["code"] == "worker_crashed" and "0.5 s" in error["message"]


@pytest.mark.parametrize(
    ("mode", "code"), [("fails", "foreground"), ("bug", "error"), ("nan", "protocol")]
)
def test_errors_name_their_code(start: Start, tmp_path: Path, mode: str, code: str) -> None:
    worker = start(mode)
    worker.run(job(tmp_path))
    error = last_word(worker)
    assert error["code"] == code
    if mode != "nan":
        assert "Traceback" in Path(error["detail_path"]).read_text()
    assert worker.is_usable


def test_a_second_job_at_once_is_refused(start: Start, tmp_path: Path) -> None:
    worker = start("slow")
    worker.run(job(tmp_path))
    with pytest.raises(ProtocolError, match="job-1"):
        worker.run(job(tmp_path, "job-2"))


def test_close_ends_a_hanging_worker(start: Start, tmp_path: Path) -> None:
    worker = start("hangs")
    worker.run(job(tmp_path))
    events_until(worker, lambda event: event["type"] == "stage")
    worker.close(timeout_s=0.2)
    assert not worker.is_usable


def test_an_interpreter_that_cannot_run_is_an_error(tmp_path: Path) -> None:
    text = tmp_path / "python"
    text.write_text("not a program")
    with pytest.raises(EnvironmentMissingError, match="Could not start"):
        WorkerProcess(
            WorkerLaunch(argv=(str(text),), env={}), working_dir=tmp_path, log_path=tmp_path / "log"
        )
