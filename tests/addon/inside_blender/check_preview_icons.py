# SPDX-License-Identifier: GPL-3.0-or-later
"""The views that a running conversion shows: one more with each tick."""

from __future__ import annotations

from pathlib import Path

import bpy
import numpy as np
import pytest

from one2345_blender.addon.preview_icons import PREVIEW_ICONS
from one2345_blender.addon.preview_pixels import fill_preview
from one2345_blender.client.job_queue import Job
from one2345_blender.client.job_state import JobState
from one2345_blender.contracts.job import JobSpec
from one2345_blender.contracts.preview_file import save_preview

pytestmark = pytest.mark.usefixtures("registered_addon")


def picture(folder: Path, name: str) -> str:
    path = folder / f"{name}.npy"
    with path.open("wb") as file:
        save_preview(np.full((16, 16, 3), 200, dtype=np.uint8), file)
    return str(path)


def job_with(folder: Path, paths: tuple[str, ...]) -> Job:
    spec = JobSpec(job_id="job", image_path=folder / "photo.png", output_dir=folder)
    return Job(spec=spec, state=JobState(job_id="job", preview_paths=paths))


def test_each_tick_reads_one_picture_of_those_that_are_shown(tmp_path: Path) -> None:
    paths = tuple(picture(tmp_path, name) for name in ("1", "foreground", "0", "0_2"))
    job = job_with(tmp_path, paths)
    counts = []
    for _ in range(4):
        PREVIEW_ICONS.read_next(job)
        counts.append(len(PREVIEW_ICONS.icon_ids(job)))
    assert counts == [1, 2, 3, 3]
    PREVIEW_ICONS.forget(job)
    assert PREVIEW_ICONS.icon_ids(job) == []


def test_a_forgotten_picture_s_pixels_are_let_go(tmp_path: Path) -> None:
    job = job_with(tmp_path, (picture(tmp_path, "0"),))
    PREVIEW_ICONS.read_next(job)
    PREVIEW_ICONS.forget(job)
    (tmp_path / "0.npy").unlink()
    PREVIEW_ICONS.read_next(job)
    (icon,) = PREVIEW_ICONS._icons.values()
    assert tuple(icon.image_size) != (16, 16), "Blender still had the old one"


def test_a_picture_that_is_gone_is_asked_for_once(tmp_path: Path) -> None:
    job = job_with(tmp_path, (str(tmp_path / "0.npy"),))
    for _ in range(2):
        PREVIEW_ICONS.read_next(job)
        assert len(PREVIEW_ICONS.icon_ids(job)) == 1


def test_a_preview_shows_the_view_upright() -> None:
    rgb = np.arange(4 * 8 * 3, dtype=np.uint8).reshape(4, 8, 3)
    preview = bpy.data.materials.new("any").preview_ensure()
    fill_preview(preview, rgb)
    assert tuple(preview.image_size) == (8, 4)
    shown = np.array(preview.image_pixels_float).reshape(4, 8, 4)
    np.testing.assert_allclose(shown[::-1, :, :3] * 255, rgb, atol=0.5)
    assert (shown[..., 3] == 1.0).all()
