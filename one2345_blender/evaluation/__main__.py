# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m one2345_blender.evaluation COMMAND ...`: what the pipeline's results are worth.

Every command is a module of this room with `main(argv)`; `COMMAND --help` lists its options.
"""

from __future__ import annotations

import sys

from ..training.command_table import run_command

COMMANDS = {
    "parity": ("parity", "differences to the original's recorded numbers"),
    "parity-views": ("parity_views", "the same for the view synthesis"),
    "meshes": ("meshes", "a preset's meshes of unseen objects, against the models"),
    "views": ("views", "a preset's views of unseen objects, against renders"),
    "samplers": ("samplers", "what the fast sampler loses against the reference sampler"),
    "elevation": ("elevation", "errors of the elevation estimate on unseen objects"),
    "segmenter": ("segmenter", "masks of held-out composites, and of your pictures"),
    "pictures": ("pictures", "convert a folder of pictures, compare the meshes with them"),
}


if __name__ == "__main__":
    sys.exit(run_command("one2345_blender.evaluation", COMMANDS, sys.argv[1:]))
