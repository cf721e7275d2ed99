# SPDX-License-Identifier: GPL-3.0-or-later
"""Somebody translates the extension: Blender shows its texts in their language."""

from __future__ import annotations

import bpy
import jobs
from hand import Hand, Steps, wait_until

_LANGUAGE = "de_DE"
_MESSAGES = {
    ("*", "Picture"): "Bild",
    ("*", "Computing the surface"): "Oberfläche wird berechnet",
    ("*", "{}, about {} left"): "{}, noch etwa {}",
    ("Operator", "Image to Mesh"): "Bild zu Netz",
    ("*", "Image to Mesh"): "Bild zu Netz",
    ("*", "Options"): "Optionen",
    ("Operator", "Cancel"): "Abbrechen",
}


def check_texts_are_shown_in_another_language(hand: Hand) -> Steps:
    """A language pack for a few texts: the panel and the progress use it."""
    bpy.app.translations.register("a language pack", {_LANGUAGE: _MESSAGES})
    bpy.context.preferences.view.language = _LANGUAGE
    bpy.context.preferences.view.use_translate_interface = True
    yield 1.0
    yield from hand.open_tab()
    yield from jobs.choose_picture(hand)
    yield from jobs.start_job(hand, mode="stays_in:sdf")
    yield from wait_until(lambda: jobs.state().stage == "sdf", within_s=60, what="mid-job")
    yield from hand.screenshot("translated")
    texts = jobs.room("addon.texts")
    assert texts.doing(jobs.state()) == "Oberfläche wird berechnet"
    job = jobs.all_jobs()[-1]
    yield from wait_until(lambda: job.seconds_left is not None, within_s=20, what="the time left")
    assert "noch etwa" in texts.progress(job)
    yield from hand.press_button("one2345.cancel")
    yield from wait_until(lambda: jobs.status() == "cancelled", within_s=30, what="cancelled")
