# SPDX-License-Identifier: GPL-3.0-or-later
"""The views that a running conversion shows: one more with each look."""

from __future__ import annotations

from pathlib import Path

import bpy
import pytest

from one2345_blender.addon.preview_icons import PREVIEW_ICONS
from one2345_blender.client.job_queue import Job
from one2345_blender.client.job_state import JobState
from one2345_blender.contracts.job import JobSpec

pytestmark = pytest.mark.usefixtures("registered_addon")


def picture(folder: Path, name: str) -> str:
    image = bpy.data.images.new(name, 16, 16)
    image.filepath_raw, image.file_format = str(folder / f"{name}.png"), "PNG"
    image.save()
    return image.filepath_raw


def test_each_look_reads_one_picture_of_those_that_are_shown(tmp_path: Path) -> None:
    paths = tuple(picture(tmp_path, name) for name in ("1", "foreground", "0", "0_2"))
    spec = JobSpec(job_id="job", image_path=tmp_path / "photo.png", output_dir=tmp_path)
    job = Job(spec=spec, state=JobState(job_id="job", preview_paths=paths))
    looks = [PREVIEW_ICONS.icon_ids(job) for _ in range(4)]
    assert [len(icons) for icons in looks] == [1, 2, 3, 3]
    PREVIEW_ICONS.forget(job)
    assert len(PREVIEW_ICONS.icon_ids(job)) == 1
