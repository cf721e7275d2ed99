# SPDX-License-Identifier: GPL-3.0-or-later
"""How checks start conversions and wait for them."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import bpy

from one2345_blender.addon import session
from one2345_blender.addon.place_result import Placement
from one2345_blender.client.job_queue import Job
from one2345_blender.contracts.job import JobSpec


def convert(tmp_path: Path, **options: object) -> set[str]:
    result: set[str] = bpy.ops.one2345.image_to_mesh(
        filepath=str(tmp_path / "photo.png"), **options
    )
    return result


def placement_in(scene: bpy.types.Scene) -> Placement:
    return Placement(scene_uid=scene.session_uid, ground_point=(0.0, 0.0, 0.0))


def start_job(tmp_path: Path, job_id: str = "job-1") -> Job:
    spec = JobSpec(
        job_id=job_id, image_path=tmp_path / f"{job_id}.png", output_dir=tmp_path / job_id
    )
    return session.SESSION.start(spec, placement_in(bpy.context.scene))


def step_until(is_reached: Callable[[], object]) -> None:
    deadline_s = time.monotonic() + 60.0
    while not is_reached():
        assert time.monotonic() < deadline_s
        session.SESSION.step()
        time.sleep(0.02)
