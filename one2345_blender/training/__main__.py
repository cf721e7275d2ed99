# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m one2345_blender.training COMMAND ...`: from model packages to the embedded weights.

Every command is a module of this room with `main(argv)`; `COMMAND --help` lists its options.
"""

from __future__ import annotations

import importlib
import logging
import sys

from ..contracts.errors import One2345Error

COMMANDS = {
    "assets": ("assets_command", "choose the 3D models, write their manifest and attribution"),
    "renders": ("renders_command", "render the training views"),
    "autoencoder": ("train_autoencoder", "train the small Zero123's autoencoder"),
    "views": ("train_views", "train the small Zero123 in its latents"),
    "export-views": ("export_views", "copy the trained small Zero123 into the preset"),
    "predict": ("predict_views", "predict views of the training objects"),
    "segmenter": ("train_segmenter", "train the foreground segmenter on composites"),
}
"""Command, module, what it does."""


def main(argv: list[str]) -> int:
    """Run one command; returns the process's exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m one2345_blender.training COMMAND ...\n\ncommands:")
        for name, (_module, summary) in COMMANDS.items():
            print(f"  {name:<12} {summary}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"unknown command {argv[0]}; known: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    command = importlib.import_module(f".{COMMANDS[argv[0]][0]}", __package__)
    try:
        command.main(argv[1:])
    except One2345Error as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
