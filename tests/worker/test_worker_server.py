# SPDX-License-Identifier: GPL-3.0-or-later
"""The real worker process, without a client: its first and its last words."""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from one2345_blender.contracts.errors import Cancelled
from one2345_blender.contracts.job import JobSpec
from one2345_blender.contracts.messages import (
    EVENTS,
    MAX_LINE_BYTES,
    TERMINAL_EVENTS,
    Message,
    decode_line,
)
from one2345_blender.contracts.progress import OnEvent, StageStarted, StepDone
from one2345_blender.worker.server import Server
from one2345_blender.worker.wire import Wire

WORKER = [sys.executable, "-s", "-u", "-X", "utf8", "-m", "one2345_blender.worker"]
ROOT = Path(__file__).parents[2]


@dataclass
class Answer:
    files: dict[str, str] = field(default_factory=dict)
    report: dict[str, Any] = field(default_factory=dict)


class ServedThread:
    """A `Server` in a thread, its wire a pair of pipes."""

    def __init__(self, convert: Callable[[JobSpec, OnEvent], Answer]) -> None:
        command_read, command_write = os.pipe()
        event_read, event_write = os.pipe()
        self._commands = os.fdopen(command_write, "wb")
        self._events = os.fdopen(event_read, "rb")
        wire = Wire(os.fdopen(command_read, "rb"), os.fdopen(event_write, "wb"))
        self.thread = threading.Thread(target=Server(wire, convert).serve, daemon=True)
        self.thread.start()
        assert self.next_event()["type"] == "hello"

    def send(self, command: Message) -> None:
        self._commands.write(json.dumps(command).encode() + b"\n")
        self._commands.flush()

    def next_event(self) -> Message:
        event = decode_line(self._events.readline(), EVENTS)
        assert event is not None
        return event

    def until_terminal(self) -> list[Message]:
        events = [self.next_event()]
        while events[-1]["type"] not in TERMINAL_EVENTS:
            events.append(self.next_event())
        return events

    def close(self) -> None:
        self._commands.close()
        self.thread.join(5.0)
        assert not self.thread.is_alive()


def job(tmp_path: Path, job_id: str = "job-1", **options: object) -> Message:
    spec = JobSpec(job_id=job_id, image_path=tmp_path / "a.png", output_dir=tmp_path / "out")
    return {**spec.to_dict(), **options}


def start_worker() -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        WORKER, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )


def test_hello_comes_before_torch_and_end_of_file_ends_it() -> None:
    process = start_worker()
    assert process.stdout is not None
    started_s = time.monotonic()
    hello = decode_line(process.stdout.readline(), EVENTS)
    assert hello is not None and hello["type"] == "hello" and hello["pid"] == process.pid
    assert time.monotonic() - started_s < 5.0
    if Path("/proc/self/status").exists():
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert "Umask:\t0077" in status, "what it writes is its user's alone"
    process.communicate(timeout=5.0)
    assert process.returncode == 0


def test_serving_imports_nothing_heavy() -> None:
    code = (
        "import sys, one2345_blender.worker.__main__;"
        "sys.exit(len({'torch', 'numpy', 'PIL'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


def test_the_worker_refuses_to_run_inside_blender() -> None:
    code = (
        "import sys, types; sys.modules['bpy'] = types.ModuleType('bpy');"
        "from one2345_blender.worker.__main__ import main; main()"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, check=False)
    assert done.returncode == 1 and b"inside Blender" in done.stderr and done.stdout == b""


def test_a_picture_that_is_missing_is_an_error_event_of_the_real_pipeline(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    pytest.importorskip("one2345_blender.pipeline.convert")
    process = start_worker()
    command = json.dumps({"type": "run", "job": job(tmp_path)}).encode() + b"\n"
    assert process.stdin is not None and process.stdout is not None
    process.stdin.write(command)
    process.stdin.flush()
    lines = iter(process.stdout.readline, b"")
    events = (decode_line(line, EVENTS) for line in lines)
    last = next(event for event in events if event is not None and event["type"] == "error")
    process.communicate(timeout=10.0)
    assert last["code"] == "input_image" and str(tmp_path / "a.png") in last["message"]
    assert Path(last["detail_path"]).is_file()


def test_progress_is_rate_limited_and_the_last_step_always_told(tmp_path: Path) -> None:
    def convert(spec: JobSpec, on_event: OnEvent) -> Answer:
        on_event(StageStarted("views_stage1"))
        for step in range(1, 1001):
            on_event(StepDone("views_stage1", step, 1000))
        return Answer()

    server = ServedThread(convert)
    server.send({"type": "run", "job": job(tmp_path)})
    steps = [event["step"] for event in server.until_terminal() if event["type"] == "progress"]
    assert len(steps) < 50 and steps[-1] == 1000
    server.close()


def test_a_late_cancel_does_not_hit_the_next_job(tmp_path: Path) -> None:
    def convert(spec: JobSpec, on_event: OnEvent) -> Answer:
        on_event(StageStarted("sdf"))
        return Answer()

    server = ServedThread(convert)
    for job_id in ("first", "second"):
        server.send({"type": "cancel", "job_id": "first" if job_id == "second" else "none"})
        server.send({"type": "run", "job": job(tmp_path, job_id)})
        assert server.until_terminal()[-1]["type"] == "result"
    server.close()


def test_a_run_while_busy_is_refused_and_the_first_goes_on(tmp_path: Path) -> None:
    go_on = threading.Event()

    def convert(spec: JobSpec, on_event: OnEvent) -> Answer:
        go_on.wait(5.0)
        return Answer()

    server = ServedThread(convert)
    server.send({"type": "run", "job": job(tmp_path, "first")})
    assert server.next_event()["type"] == "accepted"
    server.send({"type": "run", "job": job(tmp_path, "second")})
    refusal = server.next_event()
    assert (refusal["type"], refusal["job_id"], refusal["code"]) == ("error", "second", "option")
    go_on.set()
    assert server.next_event() == {
        "type": "result",
        "job_id": "first",
        "files": {},
        "report": {},
    }
    server.close()


def test_end_of_file_cancels_the_job_under_way(tmp_path: Path) -> None:
    ended = threading.Event()

    def convert(spec: JobSpec, on_event: OnEvent) -> Answer:
        try:
            for step in range(500):
                on_event(StepDone("sdf", step, 500))
                time.sleep(0.01)
        except Cancelled:
            ended.set()
            raise
        return Answer()

    server = ServedThread(convert)
    server.send({"type": "run", "job": job(tmp_path)})
    assert server.next_event()["type"] == "accepted"
    server.close()
    assert ended.is_set()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ({"seed": -1}, "option"),
        ({"colour": "red"}, "option"),
        ({"output_dir": "{a_file}"}, "output"),
    ],
)
def test_a_bad_job_is_an_error_event(tmp_path: Path, options: dict[str, object], code: str) -> None:
    a_file = tmp_path / "a file"
    a_file.touch()
    if "output_dir" in options:
        options = {"output_dir": str(a_file)}
    server = ServedThread(lambda spec, on_event: Answer())
    server.send({"type": "run", "job": job(tmp_path, **options)})
    error = server.until_terminal()[-1]
    assert (error["type"], error["job_id"], error["code"]) == ("error", "job-1", code)
    server.close()


@pytest.mark.parametrize("line", [b"not json\n", b'{"type":"run"}\n', b'{"type":"run","job":7}\n'])
def test_a_bad_line_is_an_error_that_belongs_to_no_job(line: bytes) -> None:
    events = io.BytesIO()
    Server(Wire(io.BytesIO(line), events), lambda spec, on_event: Answer()).serve()
    _hello, error = (decode_line(each, EVENTS) for each in events.getvalue().splitlines())
    assert error is not None and error["type"] == "error" and error["job_id"] is None


def test_a_line_of_a_hundred_megabytes_is_refused_and_the_next_one_is_served() -> None:
    """The real process; its memory does not grow with the line."""
    process = start_worker()
    assert process.stdin is not None and process.stdout is not None
    types = [json.loads(process.stdout.readline())["type"]]
    for _ in range(100):
        process.stdin.write(b"x" * (MAX_LINE_BYTES + 1))
        process.stdin.flush()
        types.append(json.loads(process.stdout.readline())["type"])
    process.stdin.write(b'"}\n{"type":"shutdown"}\n')
    if Path("/proc/self/status").exists():
        status = Path(f"/proc/{process.pid}/status").read_text()
        assert int(status.split("VmHWM:")[1].split()[0]) < 100_000  # kB
    process.communicate(timeout=30.0)
    assert process.returncode == 0 and types == ["hello", *["error"] * 100]
