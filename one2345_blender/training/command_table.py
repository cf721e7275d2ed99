# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m PACKAGE COMMAND ...` for the two workshop rooms: each command is a module's `main`."""

from __future__ import annotations

import importlib
import logging
import sys
from collections.abc import Mapping

from ..contracts.errors import One2345Error

CommandTable = Mapping[str, tuple[str, str]]
"""Command -> the module of the package that has `main(argv)`, and what it does."""


def run_command(package: str, commands: CommandTable, argv: list[str]) -> int:
    """Run one command; returns the process's exit status: 0 done, 1 failed, 2 no such command."""
    if not argv or argv[0] in ("-h", "--help"):
        print(f"usage: python -m {package} COMMAND ...\n\ncommands:")
        for name, (_module, summary) in commands.items():
            print(f"  {name:<14} {summary}")
        return 0
    if argv[0] not in commands:
        print(f"unknown command {argv[0]}; known: {', '.join(commands)}", file=sys.stderr)
        return 2
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    command = importlib.import_module(f".{commands[argv[0]][0]}", package)
    try:
        command.main(argv[1:])
    except One2345Error as error:
        print(f"{error.message} {error.hint}".strip(), file=sys.stderr)
        return 1
    return 0
