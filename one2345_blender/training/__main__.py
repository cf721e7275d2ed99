# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m one2345_blender.training COMMAND ...`: from model packages to the embedded weights.

Every command is a module of this room with `main(argv)`; `COMMAND --help` lists its options.
"""

from __future__ import annotations

import sys

from .command_table import run_command
from .process_group import part_together

COMMANDS = {
    "assets": ("assets_command", "choose the 3D models, write their manifest and attribution"),
    "renders": ("renders_command", "render the training views"),
    "autoencoder": ("train_autoencoder", "train the small Zero123's autoencoder"),
    "elevation": ("train_elevation", "train the guess of the elevation from the photo"),
    "lifter": ("train_lifter", "train the lifter of a coarse volume from the photo"),
    "views": ("train_views", "train the small Zero123 in its latents"),
    "compare-views": ("compare_views", "compare recipes for it, each trained for equally long"),
    "decoder": ("train_decoder", "sharpen the autoencoder's decoder after that"),
    "predict": ("predict_views", "predict views of the training objects"),
    "reconstruction": ("train_reconstruction", "train the reconstruction network"),
    "compare-reconstructions": ("compare_reconstructions", "compare recipes for that"),
    "assemble": ("assemble", "join the trained networks into the embedded preset"),
    "segmenter": ("train_segmenter", "train the foreground segmenter on composites"),
}


def main() -> int:
    """One command, in as many processes as it was started in."""
    status = run_command("one2345_blender.training", COMMANDS, sys.argv[1:])
    part_together(is_done=status == 0)
    return status


if __name__ == "__main__":
    sys.exit(main())
