# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands `download` and `doctor`. What they do is imported when they run."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..contracts.errors import One2345Error, OptionError
from ..contracts.messages import Message, encode_line

if TYPE_CHECKING:
    from .download import Downloaded
    from .finding import Diagnosis


def add_installation_commands(commands: argparse._SubParsersAction[Any]) -> None:
    """Add both: `options.run` is the command's function, `options.show` tells its result."""
    _add_download(commands)
    _add_doctor(commands)


def _add_download(commands: argparse._SubParsersAction[Any]) -> None:
    help_text = "fetch the published weights of a preset"
    parser = _add(commands, "download", _download, _show_download, help_text)
    parser.add_argument("preset", metavar="PRESET", help="zero123-xl")
    parser.add_argument(
        "--accept-licences",
        action="store_true",
        help="you have read them; without it they are told",
    )
    parser.add_argument(
        "--from", dest="given", type=Path, metavar="DIR", help="a folder that may have the files"
    )
    parser.add_argument("--dry-run", action="store_true", help="only say what it would cost")
    parser.add_argument("--files-only", action="store_true", help="do not make the preset of them")
    parser.add_argument("--remove", action="store_true", help="delete the preset and its files")
    parser.add_argument("--events", action="store_true", help="progress as JSON lines on stdout")


def _add_doctor(commands: argparse._SubParsersAction[Any]) -> None:
    help_text = "look over this installation: exit status 2 if it cannot convert"
    parser = _add(commands, "doctor", _doctor, _show_doctor, help_text)
    parser.add_argument("--quick", action="store_true", help="without trying the stages")


def _add(
    commands: argparse._SubParsersAction[Any],
    name: str,
    run: Callable[[argparse.Namespace], Any],
    show: Callable[[argparse.Namespace, Any], str],
    help_text: str,
) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=help_text, description=help_text.capitalize() + "."
    )
    parser.add_argument("--json", action="store_true", help="print the report as JSON on stdout")
    parser.set_defaults(run=run, show=show, output=None)
    return parser


def _download(options: argparse.Namespace) -> Downloaded:
    from .download import cost, download, licences, make_preset, remove
    from .hub import Hub

    emit = _emit_event if options.events else _emit_text
    os.umask(0o077)  # what is fetched is its user's alone
    try:
        if options.remove:
            return remove(options.preset)
        if options.dry_run:
            return cost(options.preset, hub=Hub(), given=options.given)
        if not options.accept_licences:
            raise OptionError(
                f"The weights of {options.preset} come under their authors' licences:\n"
                f"{licences(options.preset)}",
                hint="Read them, and repeat the command with --accept-licences.",
            )
        makes_preset = not options.files_only
        result = download(
            options.preset, hub=Hub(), emit=emit, given=options.given, makes_preset=makes_preset
        )
        return make_preset(options.preset, result, emit) if makes_preset else result
    except One2345Error as error:
        if options.events:
            failure = {"code": error.code, "message": error.message, "hint": error.hint}
            _emit_event({"type": "error", **failure, "detail_path": None})
        raise
    except KeyboardInterrupt:
        if options.events:
            _emit_event({"type": "cancelled"})
        raise


def _show_download(options: argparse.Namespace, result: Downloaded) -> str:
    if options.events:
        last_word = {"type": "result", "files": result.files, "report": result.report}
        return _line(last_word).decode().rstrip()
    if "freed_bytes" in result.report:
        return f"{result.report['freed_bytes'] / 1e6:.0f} MB freed"
    if options.dry_run:
        sizes = "{download_bytes:,} bytes to download, {needed_bytes:,} needed, {free_bytes:,} free"
        return f"{result.report['licences']}\n{sizes.format(**result.report)}"
    return "\n".join(result.files.values())


def _doctor(options: argparse.Namespace) -> Diagnosis:
    from .doctor import examine

    return examine(try_stages=not options.quick)


def _show_doctor(options: argparse.Namespace, diagnosis: Diagnosis) -> str:
    return str(diagnosis)


def _line(event: Message) -> bytes:
    """A line of the worker's protocol."""
    return encode_line({**event, "job_id": "download"})


def _emit_event(event: Message) -> None:
    """Raises KeyboardInterrupt: nobody listens any more; Blender was killed, say."""
    try:
        sys.stdout.buffer.write(_line(event))
        sys.stdout.buffer.flush()
    except OSError as error:
        nobody = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nobody, sys.stdout.fileno())  # what still waits in the buffer goes there
        os.close(nobody)
        raise KeyboardInterrupt from error


def _emit_text(event: Message) -> None:
    """For people; on a terminal the percentage stays on its line."""
    if event["type"] == "stage":
        sys.stderr.write(f"[{event['index'] + 1}/{event['count']}] {event['name']}\n")
    elif event["type"] == "progress" and sys.stderr.isatty():
        share = event["step"] / max(event["steps"], 1)
        sys.stderr.write(f"\r{share:6.1%} of {event['steps'] / 1e6:.0f} MB")
        if event["step"] == event["steps"]:
            sys.stderr.write("\n")
    sys.stderr.flush()
