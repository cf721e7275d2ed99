# SPDX-License-Identifier: GPL-3.0-or-later
"""From the picture to the object, and back by undo."""

from __future__ import annotations

import bpy
import jobs
from hand import Hand, Steps, wait_until


def check_a_photo_becomes_an_object(hand: Hand) -> Steps:
    """Open the tab, type the picture's path, press the button, see progress, see the object."""
    before = set(bpy.data.objects)
    yield from hand.open_tab()
    yield from hand.screenshot("panel")
    yield from jobs.choose_picture(hand)
    yield from hand.screenshot("picture")
    yield from jobs.start_job(hand, mode="slow")
    fractions = []
    while jobs.status() == "running":
        fractions.append(jobs.all_jobs()[-1].fraction)
        yield 0.1
    assert jobs.status() == "done", jobs.state()
    assert fractions == sorted(fractions) and len(set(fractions)) > 2, fractions
    yield from hand.screenshot("done")
    (placed,) = (found for found in set(bpy.data.objects) - before if found.type == "MESH")
    name = placed.name
    assert name == jobs.PHOTO.stem and placed.visible_get()
    assert bpy.context.view_layer.objects.active == placed

    yield from hand.to_view()
    yield from hand.press("Z", ctrl=True)
    yield from wait_until(lambda: name not in bpy.data.objects, within_s=10, what="undo")
    assert {found.name for found in bpy.data.objects} == {"Camera", "Cube", "Light"}
    yield from hand.press("Z", ctrl=True, shift=True)
    yield from wait_until(lambda: name in bpy.data.objects, within_s=10, what="redo")
    assert bpy.data.objects[name].data.color_attributes.active_color is not None
    assert f"{name} Camera" in bpy.data.objects


def check_what_the_sub_panels_hold_goes_to_the_job(hand: Hand) -> Steps:
    """Options and output, both open."""
    jobs.open_panels("ONE2345_PT_options", "ONE2345_PT_output")
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    chosen = jobs.settings()
    chosen.seed, chosen.quality = 5, "FINE"
    chosen.use_preset_resolution, chosen.grid_resolution = False, 64
    chosen.estimate_elevation, chosen.elevation_deg = False, 35.0
    chosen.mark_asset, chosen.asset_tags = True, "cup, red"
    yield from hand.screenshot("options")
    yield from jobs.start_job(hand, mode="ok")
    yield from wait_until(lambda: jobs.PHOTO.stem in bpy.data.objects, within_s=60, what="the job")
    spec = jobs.all_jobs()[-1].spec
    assert (spec.seed, spec.steps_scale, spec.elevation_deg) == (5, 2.0, 35.0)
    assert spec.grid_resolution == 64
    placed = bpy.data.objects[jobs.PHOTO.stem]
    assert {"cup", "red"} <= {tag.name for tag in placed.asset_data.tags}
    assert tuple(placed.preview.image_size) == (8, 8), "the fake worker's cut-out"


def check_a_job_survives_another_workspace_another_scene_and_saving(hand: Hand) -> Steps:
    """Its object comes into the scene that it was asked for in, which is not the one shown."""
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    scene = bpy.context.scene
    yield from jobs.start_job(hand, mode="slow")
    hand.window.workspace = bpy.data.workspaces["Shading"]
    yield 1.0
    hand.window.scene = bpy.data.scenes.new("another")
    bpy.ops.wm.save_as_mainfile(filepath=f"{bpy.app.tempdir}/saved.blend")
    assert jobs.status() in ("starting", "running"), jobs.state()
    yield from wait_until(lambda: jobs.PHOTO.stem in bpy.data.objects, within_s=60, what="the job")
    assert jobs.PHOTO.stem in scene.objects
    assert not hand.window.scene.objects


def check_search_finds_what_comes_next(hand: Hand) -> Steps:
    """F3 on a converted object: its next seed, and after it the end of the list."""
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="ok")
    yield from wait_until(lambda: jobs.PHOTO.stem in bpy.data.objects, within_s=60, what="the job")
    yield from _search(hand, "Another Seed")
    yield from wait_until(lambda: len(jobs.all_jobs()) == 2, within_s=20, what="the next seed")
    yield from wait_until(lambda: jobs.status() == "done", within_s=60, what="the next job")
    yield from _search(hand, "Clear Finished")
    yield from wait_until(lambda: not jobs.all_jobs(), within_s=20, what="an empty list")


def check_search_finds_the_operator(hand: Hand) -> Steps:
    """F3, the operator's name, Enter: without a photo it asks for one."""
    bpy.context.preferences.view.filebrowser_display_type = "SCREEN"
    yield from _search(hand, "Image to Mesh")
    yield from wait_until(
        lambda: jobs.browser(hand),
        within_s=20,
        what="the file browser opens",
    )


def _search(hand: Hand, text: str) -> Steps:
    """Type into the search of the 3D view and take what it finds first."""
    yield from hand.to_view()
    yield from hand.press("F3")
    yield 0.5
    yield from hand.type_text(text)
    yield 0.5
    yield from hand.screenshot(f"search_{text.replace(' ', '_').lower()}")
    yield from hand.press("RET")
