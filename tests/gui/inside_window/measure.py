# SPDX-License-Identifier: GPL-3.0-or-later
"""Measurements inside the window, one JSON file each; `benchmarks/addon_window.py` runs them."""

from __future__ import annotations

import sys
import tempfile
import threading
import time
from collections.abc import Callable
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

import bpy
import jobs
import numpy as np
from hand import Hand, Steps, wait_until

_JOB_WITHIN_S = 1200.0
_BASELINE_S = 10.0
_LOOK_INTERVAL_S = 0.02
_BENCHMARKS = Path(__file__).parents[3] / "benchmarks"
_IMPORT_RUNS = 3
_LONGEST = 3
_SETTLED_S = 1.0
"""Blender draws what was imported."""


class Gaps:
    """A timer that wants to run all the time: how long it had to wait, seconds."""

    def __init__(self) -> None:
        self.waits_s: list[float] = []
        self._stages: list[str] = []
        """What the worker was about when each wait ended."""
        self._last_s = 0.0
        self._timer = self._note
        """One object: Blender knows its timers by identity, and each look-up binds anew."""

    def __enter__(self) -> Gaps:
        self._last_s = time.perf_counter()
        bpy.app.timers.register(self._timer)
        return self

    def __exit__(self, *_: object) -> None:
        bpy.app.timers.unregister(self._timer)

    def _note(self) -> float:
        now_s = time.perf_counter()
        self.waits_s.append(now_s - self._last_s)
        self._stages.append(f"{jobs.state().stage} ({jobs.status()})" if jobs.all_jobs() else "")
        self._last_s = now_s
        return 0.0

    def summary(self) -> dict[str, float]:
        """Milliseconds."""
        return _summary_ms(self.waits_s)

    def longest(self) -> list[tuple[float, str]]:
        """The longest waits, milliseconds, and what the worker was about when they ended."""
        waits_ms = (1000.0 * wait_s for wait_s in self.waits_s)
        return sorted(zip(waits_ms, self._stages, strict=True), reverse=True)[:_LONGEST]


@contextmanager
def own_code_timed():
    """Yields a list that gets `(function, wall, thread's processor time)` of every call that
    Blender's main thread makes into the add-on, calls within calls left out."""
    package = str(Path(jobs.room("addon").__file__).parents[1])
    entries: list[tuple[str, float, float]] = []
    depth = 0
    began = (0.0, 0.0)

    def note(frame: FrameType, event: str, _argument: Any) -> None:
        nonlocal depth, began
        if not frame.f_code.co_filename.startswith(package):
            return
        if event == "call":
            if depth == 0:
                began = (time.perf_counter(), time.thread_time())
            depth += 1
        elif event == "return" and depth:
            depth -= 1
            if depth == 0:
                wall_s, cpu_s = time.perf_counter() - began[0], time.thread_time() - began[1]
                entries.append((frame.f_code.co_qualname, wall_s, cpu_s))

    sys.setprofile(note)
    try:
        yield entries
    finally:
        sys.setprofile(None)


def measure_stalls_and_jobs(hand: Hand) -> Steps:
    """Two jobs of the real worker, the second on the warm one, beside a timer; before them the
    same window with a sidebar that is drawn as often, but no job."""
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    sidebar_redraws = _redraw_sidebar_at_10_hz(hand)
    with Gaps() as baseline:
        yield _BASELINE_S
    bpy.app.timers.unregister(sidebar_redraws)

    runs = []
    for _ in range(2):
        at = yield from hand.find_operator("one2345.image_to_mesh")
        with Gaps() as gaps, own_code_timed() as entries:
            began_s = time.perf_counter()
            yield from hand.click(at)
            yield from _until_done()
            wall_s = time.perf_counter() - began_s
        report = jobs.state().report
        runs.append(
            {
                "wall_s": wall_s,
                "worker_s": report["total_seconds"],
                "load_models_s": report["stage_seconds"]["load_models"],
                "num_vertices": report["num_vertices"],
                "gaps_ms": gaps.summary(),
                "longest_gaps": gaps.longest(),
                "own_wall_ms": _summary_ms([wall for _, wall, _ in entries]),
                "own_cpu_ms": _summary_ms([cpu for _, _, cpu in entries]),
                "longest_calls": _longest_calls(entries),
                "own_share": sum(wall for _, wall, _ in entries) / wall_s,
            }
        )
    hand.write_json("stalls", {"baseline_ms": baseline.summary(), "runs": runs})


def measure_cancel(hand: Hand) -> Steps:
    """Cancel the real worker's job in each stage; how long until it is over, and all gone."""
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    rows = []
    for index, stage in enumerate(jobs.room("contracts.progress").STAGES):
        at = yield from hand.find_operator("one2345.image_to_mesh")
        yield from hand.click(at)
        while not (jobs.all_jobs() and not jobs.state().is_final):
            yield _LOOK_INTERVAL_S
        while not (jobs.state().stage and jobs.state().stage_index >= index):
            assert not jobs.state().is_final, (stage, jobs.state())
            yield _LOOK_INTERVAL_S
        met, began_s = jobs.state().stage, time.perf_counter()
        gone = _Gone()
        bpy.ops.one2345.cancel()
        yield from _fast_until(lambda: jobs.state().is_final)
        cancelled_s = time.perf_counter() - began_s
        if jobs.status() == "done":  # the worker was faster, and may stay warm
            while not (bpy.ops.one2345.unload.poll() or gone.is_seen()):
                yield _LOOK_INTERVAL_S
            if not gone.is_seen():
                bpy.ops.one2345.unload()
        yield from _fast_until(gone.is_seen)
        rows.append(
            {
                "stage": met,
                "status": jobs.status(),
                "was_forced": jobs.state().was_forced,
                "cancelled_s": cancelled_s,
                "gone_s": gone.at_s - began_s,
            }
        )
        hand.write_json("cancel", rows)


class _Gone(threading.Thread):
    """Sees the last worker go, also while Blender's main thread draws."""

    at_s = float("inf")

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.start()

    def is_seen(self) -> bool:
        """True once it is gone."""
        return not self.is_alive()

    def run(self) -> None:
        """Look until there is none."""
        while jobs.children():
            time.sleep(_LOOK_INTERVAL_S)
        self.at_s = time.perf_counter()


def measure_import(hand: Hand) -> Steps:
    """Finished results of several sizes, from the job's files to the undo step."""
    sys.path.insert(0, str(_BENCHMARKS))
    import mesh_import

    rows = []
    for size in mesh_import.SIZES:
        mesh = mesh_import.sphere(size)
        runs = []
        with tempfile.TemporaryDirectory() as folder:
            files = mesh_import.job_files(Path(folder), mesh)
            for _ in range(_IMPORT_RUNS):
                began = time.perf_counter(), time.process_time()
                mesh_import.place(files)
                runs.append((time.perf_counter() - began[0], time.process_time() - began[1]))
                yield _SETTLED_S
        wall_s, cpu_s = map(min, zip(*runs, strict=True))
        rows.append({"num_vertices": len(mesh.vertices), "wall_s": wall_s, "cpu_s": cpu_s})
        hand.write_json("import", rows)


def _until_done() -> Steps:
    yield from wait_until(
        lambda: jobs.all_jobs() and jobs.state().is_final and not _is_unplaced(),
        within_s=_JOB_WITHIN_S,
        what="the job",
    )
    assert jobs.status() == "done", jobs.state()


def _is_unplaced() -> bool:
    session = jobs.room("addon.session").SESSION
    return session.is_unplaced(jobs.all_jobs()[-1])


def _fast_until(condition: Callable[[], object]) -> Steps:
    deadline_s = time.monotonic() + 60.0
    while not condition():
        assert time.monotonic() < deadline_s
        yield _LOOK_INTERVAL_S


def _redraw_sidebar_at_10_hz(hand: Hand) -> Callable[[], float]:
    def redraw() -> float:
        hand.sidebar.tag_redraw()
        return 0.1

    bpy.app.timers.register(redraw)
    return redraw


def _longest_calls(entries: list[tuple[str, float, float]]) -> list[tuple[float, str]]:
    """Milliseconds of processor time, and the function."""
    by_cpu = sorted(((1000.0 * cpu_s, function) for function, _, cpu_s in entries), reverse=True)
    return by_cpu[:_LONGEST]


def _summary_ms(durations_s: list[float]) -> dict[str, float]:
    durations_ms = 1000.0 * np.array(durations_s)
    return {
        "count": len(durations_s),
        "p50": float(np.percentile(durations_ms, 50)),
        "p99": float(np.percentile(durations_ms, 99)),
        "max": float(durations_ms.max()),
    }
