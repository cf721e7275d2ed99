# SPDX-License-Identifier: GPL-3.0-or-later
"""A worker that speaks the real wire and does what the variable ONE2345_FAKE_MODE says.

The well-behaved modes run the real server with a converter that needs no models; the others break
one rule each. `stays_in:<stage>` works at that stage until it is cancelled, `deaf` heeds no
cancellation. Command-line arguments are ignored, so it can stand in for the worker's Python.
"""

from __future__ import annotations

import base64
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from typing import Any

import numpy as np

from one2345_blender.contracts.errors import EmptySurfaceError, ForegroundError
from one2345_blender.contracts.job import ElevationEstimate, JobSpec, RunReport
from one2345_blender.contracts.job_folder import MESH_NPZ, PHOTO_PNG, atomic_write
from one2345_blender.contracts.mesh import ColoredMesh, save_npz
from one2345_blender.contracts.messages import PROTOCOL_VERSION
from one2345_blender.contracts.progress import (
    STAGES,
    OnEvent,
    StageStarted,
    StepDone,
    ViewReady,
    WarningRaised,
)
from one2345_blender.worker.server import Server
from one2345_blender.worker.wire import Wire, claim_standard_streams

BOX_LOW = (-0.20, -0.10, -0.30)
BOX_HIGH = (0.30, 0.25, 0.40)
"""Corners of the box that every conversion yields, world units: no two faces are alike."""
BOX_SRGB = (128, 64, 200, 255)
SOURCE_SIZE_PX = (640, 400)
CROP_BOX_PX = (250.0, -20.0, 300.0)
VIEW_SIZE_PX = 128
ELEVATION_DEG = 25.0

_STAYS_IN = "stays_in:"
_FAILS_IN = "fails_in_"
"""A mode that begins so fails in the stage that follows."""
_GREY_PNG = base64.b64decode(
    "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR4nGNoaGgAAAMEAYFL09IQAAAAAElFTkSuQmCC"
)
"""One grey pixel, so that no imaging library is needed."""


@dataclass(frozen=True)
class FakeResult:
    files: dict[str, str]
    report: dict[str, Any]


def box_mesh() -> ColoredMesh:
    corners = np.array([BOX_LOW, BOX_HIGH], dtype=np.float32)
    vertices = np.array(
        [
            [corners[i, 0], corners[j, 1], corners[k, 2]]
            for i in (0, 1)
            for j in (0, 1)
            for k in (0, 1)
        ]
    )
    quads = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (0, 2, 6, 4), (1, 5, 7, 3)]
    faces = np.array(
        [face for a, b, c, d in quads for face in ((a, b, c), (a, c, d))], dtype=np.int32
    )
    colors = np.tile(np.array(BOX_SRGB, dtype=np.uint8), (8, 1))
    return ColoredMesh(vertices=vertices, faces=faces, vertex_colors=colors)


def convert(spec: JobSpec, on_event: OnEvent) -> FakeResult:
    mode = os.environ.get("ONE2345_FAKE_MODE", "ok")
    if mode == "fails":
        raise ForegroundError("No object was found.", hint="Choose another picture.")
    if mode == "bug":
        raise KeyError("a bug")
    if mode == "nan":
        return FakeResult(files={}, report={"total_seconds": float("nan")})
    for stage in STAGES:
        on_event(StageStarted(stage))
        while mode == _STAYS_IN + stage:
            time.sleep(0.05)
            on_event(StepDone(stage, 1, 2))
        if mode == _FAILS_IN + stage:
            raise EmptySurfaceError("There is no surface.")
        if mode == "deaf":
            on_event(StepDone(stage, 1, 1))
            time.sleep(600)
        for step in range(3):
            time.sleep(0.1 if mode == "slow" else 0.0)
            on_event(StepDone(stage, step + 1, 3))
        if mode == "noisy":
            print('{"type":"result"}')  # noqa: T201 - what a chatty library does
            subprocess.run("echo a child speaks", shell=True, check=True)
            os.write(1, b"straight to the descriptor\n")
    for name in ("foreground", "0"):
        on_event(ViewReady(name, np.full((8, 8, 3), 200, dtype=np.uint8)))
    on_event(WarningRaised("elevation_not_estimated", "The elevation is a guess."))
    path = spec.output_dir / MESH_NPZ
    with atomic_write(path) as file:
        save_npz(box_mesh(), file)
    photo_path = spec.output_dir / PHOTO_PNG
    with atomic_write(photo_path) as file:
        file.write(_GREY_PNG)
    files = {"mesh_npz": str(path), "photo": str(photo_path)}
    return FakeResult(files=files, report=_report(spec).to_dict())


def _report(spec: JobSpec) -> RunReport:
    is_given = spec.elevation_deg is not None
    return RunReport(
        image_path=str(spec.image_path),
        preset=spec.preset,
        seed=spec.seed,
        device="cpu",
        dtype="float32",
        sampler="reference",
        elevation=ElevationEstimate(
            elevation_deg=spec.elevation_deg if is_given else ELEVATION_DEG,
            is_estimated=not is_given,
            confidence=1.0 if is_given else 0.8,
        ),
        source_size_px=SOURCE_SIZE_PX,
        crop_box_px=CROP_BOX_PX,
        view_size_px=VIEW_SIZE_PX,
        num_vertices=8,
        num_faces=12,
        stage_seconds=dict.fromkeys(STAGES, 0.1),
        total_seconds=1.0,
        peak_memory_bytes=1,
    )


def _first_job_id(wire: Wire) -> str:
    import json

    job_id: str = json.loads(next(wire.lines()))["job"]["job_id"]
    wire.send({"type": "accepted", "job_id": job_id})
    return job_id


def misbehave(wire: Wire, mode: str) -> None:
    if mode == "mute":
        time.sleep(600)
    protocol = 999 if mode == "wrong_protocol" else PROTOCOL_VERSION
    wire.send({"type": "hello", "protocol": protocol, "pid": os.getpid(), "versions": {}})
    if mode == "wrong_protocol":
        time.sleep(600)
    job_id = _first_job_id(wire)
    result = {"type": "result", "job_id": job_id, "files": {}, "report": {}}
    if mode == "crashes":
        for number in range(100):
            sys.stderr.write(f"line {number}\n")
        os._exit(3)
    elif mode == "is_killed":
        os.kill(os.getpid(), signal.SIGKILL)
    elif mode == "hangs":
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        wire.send({"type": "stage", "job_id": job_id, "name": "sdf", "index": 7, "count": 10})
        time.sleep(600)
    elif mode == "lies_json":
        os.write(wire._outgoing.fileno(), b"this is not JSON\n")
        time.sleep(600)
    elif mode == "falls_silent":
        os.close(wire._outgoing.fileno())
        time.sleep(600)
    elif mode == "half_line":
        os.write(wire._outgoing.fileno(), b'{"type":"result","job_id":')
        os._exit(0)
    elif mode == "long_line":
        for _ in range(100):
            wire._outgoing.write(b"x" * 1_000_000)
        time.sleep(600)
    elif mode == "babbles":
        for number in range(300):
            os.write(wire._outgoing.fileno(), b"%d" % number * 300_000 + b"\n")
        time.sleep(600)
    elif mode == "lies_type":
        wire.send({"type": "progress", "job_id": job_id, "stage": "sdf", "step": "1", "steps": 2})
        time.sleep(600)
    elif mode == "lies_twice":
        wire.send({**result, "job_id": "another job"})
        wire.send({"type": "from_the_future", "job_id": job_id})
        wire.send(result)
        wire.send({"type": "cancelled", "job_id": job_id})
        wire.send(result)
        time.sleep(600)
    else:
        raise SystemExit(f"unknown ONE2345_FAKE_MODE {mode!r}")


def main() -> None:
    mode = os.environ.get("ONE2345_FAKE_MODE", "ok")
    wire = claim_standard_streams()
    if mode in ("ok", "slow", "noisy", "deaf", "fails", "bug", "nan") or mode.startswith(
        (_STAYS_IN, _FAILS_IN)
    ):
        Server(wire, convert).serve()
    else:
        misbehave(wire, mode)


if __name__ == "__main__":
    main()
