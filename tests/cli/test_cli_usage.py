# SPDX-License-Identifier: GPL-3.0-or-later
"""What the command line says without running the method: help, version, wrong use, failures."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from one2345_blender import cli
from one2345_blender.contracts.errors import Cancelled, OutOfMemoryError
from one2345_blender.version import __version__

ROOT = Path(__file__).resolve().parents[2]


def main_raising(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, *arguments: str
) -> Callable[[], int]:
    """`main` for a conversion that ends with `error`."""

    def fail(options: object) -> NoReturn:
        raise error

    monkeypatch.setattr(cli, "_convert", fail)
    return lambda: cli.main(["convert", "photo.png", *arguments])


def test_help_is_instant() -> None:
    code = (
        "import sys; from one2345_blender.cli import build_parser;"
        "text = build_parser().format_help();"
        "assert 'convert' in text and 'reconstruct' in text and 'views' in text;"
        "sys.exit(', '.join({'torch', 'numpy', 'tqdm'} & set(sys.modules)) or 0)"
    )
    finished = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert finished.returncode == 0, finished.stderr


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(["--version"])
    assert stop.value.code == 0
    assert capsys.readouterr().out == f"one2345 {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        ([], "COMMAND"),
        (["dance"], "dance"),
        (["convert"], "IMAGE"),
        (["convert", "photo.png"], "--output"),
        (["convert", "photo.png", "--output", "o", "--seed", "-1"], "--seed"),
        (["convert", "photo.png", "--output", "o", "--seed", "2.5"], "whole number"),
        (["convert", "photo.png", "--output", "o", "--elevation-deg", "nan"], "--elevation-deg"),
        (["convert", "photo.png", "--output", "o", "--elevation-deg", "91"], "-90 to 90"),
        (["convert", "photo.png", "--output", "o", "--resolution", "5000"], "16 to 512"),
        (["convert", "photo.png", "--output", "o", "--memory-limit-gb", "0"], "0.1 to 10000"),
        (["convert", "photo.png", "--output", "o", "--device", "tpu"], "tpu"),
        (["views", "photo.png", "--output", "o"], "--azimuth-deg"),
    ],
)
def test_wrong_use_is_one_error_and_one_hint(
    arguments: list[str], named: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == cli.EXIT_BAD_INPUT
    error, hint = capsys.readouterr().err.splitlines()
    assert error.startswith("error: ") and named in error
    assert hint.startswith("hint: ") and "--help" in hint


def test_views_need_matching_counts(capsys: pytest.CaptureFixture[str]) -> None:
    angles = ["--azimuth-deg", "0", "90", "180", "--elevation-deg", "10", "20"]
    assert cli.main(["views", "photo.png", "--output", "o", *angles]) == cli.EXIT_BAD_INPUT
    assert "1 or 3 values, got 2" in capsys.readouterr().err


def test_expected_failure(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    error = OutOfMemoryError("Memory ran out.", hint="Close other programs.")
    assert main_raising(error, monkeypatch, "--output", "o")() == cli.EXIT_BAD_INPUT
    assert capsys.readouterr().err == "error: Memory ran out.\nhint: Close other programs.\n"


@pytest.mark.parametrize("error", [Cancelled(), KeyboardInterrupt()], ids=["job", "key"])
def test_cancelled(
    error: BaseException, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main_raising(error, monkeypatch, "--output", "o")() == cli.EXIT_CANCELLED
    assert capsys.readouterr().err == "cancelled\n"


@pytest.mark.parametrize("has_output", [True, False])
def test_unexpected_failure_leaves_a_traceback(
    has_output: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path if has_output else tmp_path / "never made"
    main = main_raising(RuntimeError("a bug"), monkeypatch, "--output", str(output))
    assert main() == cli.EXIT_UNEXPECTED
    error, hint = capsys.readouterr().err.splitlines()
    assert error == "error: Unexpected RuntimeError: a bug"
    path = Path(hint.removesuffix(".").split(" the file ")[1])
    assert "RuntimeError: a bug" in path.read_text()
    assert (path.parent == tmp_path) == has_output
