# SPDX-License-Identifier: GPL-3.0-or-later
"""Several pictures: dropped at once, or one after the other while the first is under way."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import bpy
import jobs
from hand import Hand, Steps, wait_until

_NAMES = ("ball", "chair", "cup")


def _three_pictures() -> Path:
    folder = Path(bpy.app.tempdir) / "pictures"
    folder.mkdir()
    for name in _NAMES:
        shutil.copy(jobs.PHOTO, folder / f"{name}.jpg")
    return folder


def _drop(hand: Hand, folder: Path, names: list[str], *, region_type: str) -> Steps:
    """Drop files; Blender, which can drop pictures itself, asks what to do with them."""
    area = hand.view_3d
    region = next(region for region in area.regions if region.type == region_type)
    with bpy.context.temp_override(window=hand.window, area=area, region=region):
        bpy.ops.wm.drop_import_file(
            "INVOKE_DEFAULT",
            directory=str(folder),
            files=[{"name": name} for name in names],
        )
    yield 1.0
    yield from hand.screenshot(f"drop_menu_{region_type.lower()}")
    yield from hand.press("I")  # the underlined letter of our line


def check_dropped_pictures_stand_in_a_row(hand: Hand) -> Steps:
    """Three files dropped into the view: three objects side by side, named after the files."""
    os.environ[jobs.FAKE_MODE_VARIABLE] = "slow"
    jobs.open_panels("ONE2345_PT_queue")
    yield from hand.open_tab()
    yield from hand.to_view()
    yield from _drop(
        hand, _three_pictures(), [f"{name}.jpg" for name in _NAMES], region_type="WINDOW"
    )
    yield from wait_until(lambda: len(jobs.all_jobs()) == 3, within_s=20, what="three jobs")
    yield from wait_until(lambda: jobs.all_jobs()[1].state.stage, within_s=90, what="the second")
    yield from hand.screenshot("dropped")
    yield from wait_until(lambda: jobs.status() == "done", within_s=120, what="all three")
    yield 1.0
    placed = [bpy.data.objects[name] for name in _NAMES]
    xs = [found.matrix_world.translation.x for found in placed]
    widths = [found.dimensions.x for found in placed]
    for left, right, width in zip(xs, xs[1:], widths, strict=False):
        assert abs(right - left) > width, (xs, widths)
    yield from hand.screenshot("row")


def check_a_failure_is_told_where_no_sidebar_is_open(hand: Hand) -> Steps:
    """Two files dropped beside a closed sidebar: what became of them is said once at the mouse, and
    in each one's row of the panel."""
    os.environ[jobs.FAKE_MODE_VARIABLE] = "crashes"
    jobs.open_panels("ONE2345_PT_queue")
    hand.view_3d.spaces.active.show_region_ui = False
    notices, told = jobs.room("addon.notices"), []
    tell = notices.tell_failures
    notices.tell_failures = lambda failed: (told.append(len(failed)), tell(failed))
    yield from hand.to_view()
    yield from _drop(
        hand, _three_pictures(), [f"{name}.jpg" for name in _NAMES[:2]], region_type="WINDOW"
    )
    yield from wait_until(lambda: len(jobs.all_jobs()) == 2, within_s=20, what="two jobs")
    yield from hand.screenshot("queued_without_sidebar")
    yield from wait_until(lambda: _statuses() == ["failed"] * 2, within_s=90, what="both fail")
    yield from wait_until(lambda: told, within_s=20, what="it is told")
    assert told == [2]
    yield from hand.screenshot("failed_without_sidebar")
    yield from hand.press("ESC")
    yield from hand.open_tab()
    yield from hand.screenshot("failed_rows")
    yield from hand.find_operator("one2345.open_log")


def check_a_picture_dropped_on_the_panel_is_chosen(hand: Hand) -> Steps:
    """It becomes the panel's picture; nothing is converted yet."""
    yield from hand.open_tab()
    yield from hand.to_view()
    yield from _drop(hand, jobs.PHOTO.parent, [jobs.PHOTO.name], region_type="UI")
    yield from wait_until(lambda: jobs.settings().image, within_s=20, what="the picture")
    assert jobs.settings().image.name == jobs.PHOTO.name
    assert not jobs.all_jobs()


def check_three_presses_queue_three_jobs(hand: Hand) -> Steps:
    """They wait their turn; the one in the middle is taken out; undo does not touch the jobs."""
    jobs.open_panels("ONE2345_PT_queue")
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="stays_in:features")
    for _ in range(2):
        yield from hand.press_button("one2345.image_to_mesh")
    yield from wait_until(lambda: len(jobs.all_jobs()) == 3, within_s=20, what="three jobs")
    assert _statuses() == ["running", "waiting", "waiting"]
    yield from hand.screenshot("queue")
    second = jobs.all_jobs()[1]
    yield from hand.press_button(f'one2345.cancel(job_id="{second.spec.job_id}"', is_small=True)
    assert _statuses() == ["running", "cancelled", "waiting"]

    yield from hand.to_view()
    yield from hand.press("A")  # select all, something to undo
    yield from hand.press("Z", ctrl=True)
    os.environ[jobs.FAKE_MODE_VARIABLE] = "ok"
    yield from hand.press_button("one2345.cancel")
    yield from wait_until(lambda: _statuses()[2] == "done", within_s=60, what="the third")
    assert _statuses() == ["cancelled", "cancelled", "done"]
    assert sum(found.name.startswith(jobs.PHOTO.stem) for found in bpy.data.meshes) == 1


def _statuses() -> list[str]:
    return [job.state.status.value for job in jobs.all_jobs()]
