# SPDX-License-Identifier: GPL-3.0-or-later
"""Runs in Blender: steps one check by a timer and quits.

    blender … --python run_check.py -- CHECK_FILE FUNCTION OUTPUT_DIR

The file `passed` appears in the output folder when the check came to its end; Blender's exit status
does not say so, since Blender may be ended by the check itself.
"""

from __future__ import annotations

import importlib
import os
import sys
import traceback
from pathlib import Path

import bpy

FAILED = 3


def main() -> None:
    check_file, function, output_name = sys.argv[sys.argv.index("--") + 1 :]
    sys.path.insert(0, str(Path(check_file).parent))
    from hand import Hand

    hand = Hand(Path(output_name))
    steps = getattr(importlib.import_module(Path(check_file).stem), function)(hand)
    bpy.context.preferences.view.show_splash = False  # it would take the first click
    bpy.context.preferences.system.viewport_aa = "FXAA"  # eight samples are slow without a GPU

    def step() -> float | None:
        try:
            wait_s: float = next(steps)
        except StopIteration:
            hand.note_passed()
            bpy.ops.wm.quit_blender()
            return None
        except BaseException:  # a timer that raises is merely dropped, and Blender stays
            traceback.print_exc()
            list(hand.screenshot("failure"))
            os._exit(FAILED)
        return wait_s

    bpy.app.timers.register(step, first_interval=1.0, persistent=True)


main()
