# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on costs whoever works in Blender: measured in a real window, printed as tables.

`make bench-gui` runs it: with the real worker and the embedded preset in Debian's Blender under
Xvfb, whose software OpenGL makes drawing slow; so the stalls stand beside those of the same window
without a job. Several minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import sys
import tempfile
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "gui"))

from blender_window import PYTHON, BlenderWindow, install_extension  # noqa: E402

FAKE_WORKER = ROOT / "tests" / "fake_worker.py"
MEASUREMENTS = {
    "stalls": "measure:measure_stalls_and_jobs",
    "cancel": "measure:measure_cancel",
    "import": "measure:measure_import",
}
WAYS_TO_END = {
    "job done, Blender quit": "check_convert:check_a_photo_becomes_an_object",
    "job cancelled in every stage": "check_cancel:check_cancel_in_every_stage",
    "worker that does not heed ended": "check_cancel:check_a_worker_that_does_not_heed_is_ended",
    "Blender quit in mid-job": "check_end:check_quit_in_mid_job",
    "Blender terminated (SIGTERM)": "check_end:check_blender_is_terminated",
    "Blender killed (SIGKILL)": "check_end:check_blender_is_killed",
    "worker killed (SIGKILL)": "check_end:check_the_worker_is_killed",
    "add-on disabled in mid-job": "check_end:check_the_add_on_is_disabled",
    "another file opened in mid-job": "check_end:check_another_file_is_opened",
}
PARTS = (*MEASUREMENTS, "ends")


def measured(window: BlenderWindow, name: str) -> Any:
    """The JSON of one measurement with the real worker.

    Raises:
        SystemExit: It failed; what Blender printed is the message.
    """
    outcome = window.run(MEASUREMENTS[name], timeout_s=7200.0, ONE2345_PYTHON=str(PYTHON))
    if not outcome.has_passed:
        raise SystemExit(outcome.text)
    return json.loads((outcome.output_dir / f"{name}.json").read_text(encoding="utf-8"))


def print_table(*rows: tuple[object, ...]) -> None:
    """A Markdown table; the first row is its head."""
    head, *body = [[f"{cell:.3g}" if isinstance(cell, float) else cell for cell in r] for r in rows]
    for row in (head, ["---"] * len(head), *body):
        print("|", " | ".join(map(str, row)), "|")
    print()


def print_stalls(found: dict[str, Any]) -> None:
    """How long a timer had to wait, and how much of it was ours."""
    columns = ("p50", "p99", "max")

    def milliseconds(label: str, summary: dict[str, float]) -> tuple[object, ...]:
        return (label, *(f"{summary[column]:.1f}" for column in columns))

    rows = [milliseconds("timer's gaps without a job", found["baseline_ms"])]
    for number, run in enumerate(found["runs"], start=1):
        rows.append(milliseconds(f"timer's gaps during job {number}", run["gaps_ms"]))
        rows.append(milliseconds(f"calls into the add-on, job {number}", run["own_wall_ms"]))
        rows.append(milliseconds("… their processor time", run["own_cpu_ms"]))
    print_table(("main thread, ms", *columns), *rows)
    print_table(
        ("job", "longest calls into the add-on, processor ms", "longest gaps, ms (stage)"),
        *(
            (number, *(_listed(run[key]) for key in ("longest_calls", "longest_gaps")))
            for number, run in enumerate(found["runs"], start=1)
        ),
    )
    print_table(
        ("job", "button to object, s", "in the worker, s", "loading networks, s"),
        *(
            (label, run["wall_s"], run["worker_s"], run["load_models_s"])
            for label, run in zip(("first", "second"), found["runs"], strict=True)
        ),
    )


def _listed(entries: list[tuple[float, str]]) -> str:
    return ", ".join(f"{ms:.0f} {what}" for ms, what in entries)


def print_cancel(rows: list[dict[str, Any]]) -> None:
    """How long cancelling takes in each stage."""
    print_table(
        ("stage", "outcome", "over after, s", "processes gone after, s", "ended by force"),
        *(
            (row["stage"], row["status"], row["cancelled_s"], row["gone_s"], row["was_forced"])
            for row in rows
        ),
    )


def print_import(rows: list[dict[str, Any]]) -> None:
    """How long a result takes from the job's files to the undo step."""
    print_table(
        ("vertices", "placed after, s", "processor time, s"),
        *((f"{row['num_vertices']:,}", row["wall_s"], row["cpu_s"]) for row in rows),
    )


def print_ends(window: BlenderWindow) -> None:
    """Processes left after each way to end a job, with the scripted worker."""
    fake = window.tmp_path / "fake_python"
    fake.write_text(f"#!/bin/sh\nexec {shlex.quote(str(PYTHON))} -s {FAKE_WORKER}\n")
    fake.chmod(0o755)
    rows: list[tuple[object, ...]] = [("way to end", "processes left")]
    for way, check in WAYS_TO_END.items():
        outcome = window.run(check, ONE2345_PYTHON=str(fake))
        if not outcome.has_passed:
            raise SystemExit(outcome.text)
        rows.append((way, len(outcome.processes_left)))
    print_table(*rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", choices=[[], *PARTS], help="default: all")
    parts = parser.parse_args().parts or PARTS
    gui_root = Path(os.environ["ONE2345_GUI_ROOT"])
    printers = {"stalls": print_stalls, "cancel": print_cancel, "import": print_import}
    with tempfile.TemporaryDirectory() as name:
        window = BlenderWindow(gui_root=gui_root, home_dir=Path(name) / "home", tmp_path=Path(name))
        window.home_dir.mkdir()
        install_extension(gui_root, window.home_dir)
        for part in parts:
            if part == "ends":
                print_ends(window)
            else:
                printers[part](measured(window, part))
    return 0


if __name__ == "__main__":
    sys.exit(main())
