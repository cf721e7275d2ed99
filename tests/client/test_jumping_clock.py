# SPDX-License-Identifier: GPL-3.0-or-later
"""A clock that jumps: whatever has a deadline, a lock or a download does as with one that does not.

Tests of other files run once more in a process whose clock of the day, and that of its children,
goes ten minutes ahead or back at every look (`jumping_clock.c`): a deadline by that clock would be
over at once, or never.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = Path(__file__).with_name("jumping_clock.c")
JUMP_S = 600
LIGHT = (
    "client/test_worker_process.py::test_a_job_ends_with_its_result_and_the_worker_takes_another",
    "client/test_worker_process.py::test_cancel_stops_within_one_step_and_keeps_the_worker",
    "client/test_worker_process.py::test_a_worker_that_ignores_cancel_is_killed",
    "client/test_worker_process.py::test_a_worker_without_hello_is_given_up",
    "client/test_job_queue.py::test_an_idle_worker_is_let_go_after_a_while_but_not_one_at_work",
    "install/test_vendor_install_downloads.py::test_one_mishap_is_survived[stall-0.5-500]",
    "install/test_vendor_install_downloads.py::"
    "test_an_ended_download_goes_on_where_it_was[SIGKILL]",
    "install/test_vendor_install_environment.py::test_two_at_once_do_not_disturb_each_other",
    "install/test_vendor_install_environment.py::"
    "test_what_one_killed_while_tidying_up_has_left_goes_with_the_next_run",
)
WITH_NETWORKS = (
    "installation/test_download.py::test_one_mishap_is_survived[stall-0.5-500]",
    "installation/test_weights_on_disk.py::test_a_second_download_is_refused_while_the_first_lives",
    "installation/test_doctor.py::test_every_stage_is_tried_and_the_report_is_json",
)
LOOK = "import time; print([time.time() for _ in range(3)], [time.monotonic() for _ in range(3)])"


@pytest.fixture(scope="module")
def library(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The clock, compiled."""
    compiler = shutil.which("cc")
    if compiler is None or not sys.platform.startswith("linux"):
        pytest.skip("needs Linux and a C compiler")
    path = tmp_path_factory.mktemp("clock") / "jumping_clock.so"
    subprocess.run([compiler, "-shared", "-fPIC", "-o", path, SOURCE], check=True)
    return str(path)


def jumping(library: str, jump_s: int) -> dict[str, str]:
    """The environment of processes whose clock jumps."""
    return {**os.environ, "LD_PRELOAD": library, "JUMP_S": str(jump_s)}


@pytest.mark.parametrize("jump_s", [JUMP_S, -JUMP_S], ids=["ahead", "back"])
def test_the_clock_jumps_and_the_other_does_not(library: str, jump_s: int) -> None:
    said = subprocess.check_output(
        [sys.executable, "-c", LOOK], env=jumping(library, jump_s), text=True
    )
    first, second, third, *monotonic = (float(number) for number in re.findall(r"[\d.]+", said))
    assert abs(second - first - jump_s) < 60 and abs(third - second - jump_s) < 60
    assert monotonic == sorted(monotonic) and monotonic[-1] - monotonic[0] < 60


with_networks = [
    pytest.mark.preset,
    pytest.mark.skipif(find_spec("huggingface_hub") is None, reason="make setup"),
]


@pytest.mark.parametrize(
    ("jump_s", "tests"),
    [
        pytest.param(JUMP_S, LIGHT, id="ahead"),
        pytest.param(-JUMP_S, LIGHT, id="back"),
        pytest.param(-JUMP_S, WITH_NETWORKS, marks=with_networks, id="back, with networks"),
    ],
)
def test_nothing_is_given_up_early_or_waited_for_without_end(
    library: str, tmp_path: Path, jump_s: int, tests: tuple[str, ...]
) -> None:
    options = ["-q", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "temporary")]
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", *options, *(f"tests/{test}" for test in tests)],
        cwd=ROOT,
        env=jumping(library, jump_s),
        capture_output=True,
        text=True,
        timeout=900,
        check=False,
    )
    assert finished.returncode == 0, finished.stdout
    assert re.search(rf"^{len(tests)} passed in", finished.stdout, re.MULTILINE), finished.stdout
