# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m one2345_blender.evaluation COMMAND ...`: what the pipeline's results are worth.

Every command is a module of this room with `main(argv)`; `COMMAND --help` lists its options.
"""

from __future__ import annotations

import importlib
import sys

from ..contracts.errors import One2345Error

COMMANDS = {
    "parity": ("parity", "differences to the original's recorded numbers"),
    "parity-views": ("parity_views", "the same for the view synthesis"),
    "pictures": ("pictures", "convert a folder of pictures, compare the meshes with them"),
}
"""Command, module, what it does."""


def main(argv: list[str]) -> int:
    """Run one command; returns the process's exit status."""
    if not argv or argv[0] in ("-h", "--help"):
        print("usage: python -m one2345_blender.evaluation COMMAND ...\n\ncommands:")
        for name, (_module, summary) in COMMANDS.items():
            print(f"  {name:<12} {summary}")
        return 0
    if argv[0] not in COMMANDS:
        print(f"unknown command {argv[0]}; known: {', '.join(COMMANDS)}", file=sys.stderr)
        return 2
    command = importlib.import_module(f".{COMMANDS[argv[0]][0]}", __package__)
    try:
        command.main(argv[1:])
    except One2345Error as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
