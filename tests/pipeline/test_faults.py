# SPDX-License-Identifier: GPL-3.0-or-later
"""A conversion that is killed, or runs out of disk or memory: what lies there is whole.

Each runs in a process of its own, forked from one that has loaded the libraries once, and ends
itself for real at the moment that is asked for.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import resource
import signal
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from one2345_blender.contracts.errors import One2345Error
from one2345_blender.contracts.job import JobSpec
from one2345_blender.contracts.job_folder import REPORT_JSON
from one2345_blender.contracts.progress import STAGES, PipelineEvent, StageStarted
from one2345_blender.pipeline.convert import convert_image
from one2345_blender.pipeline.job_record import memory_errors_named
from one2345_blender.pipeline.model_cache import ModelCache

pytestmark = pytest.mark.skipif(os.name == "nt", reason="POSIX signals and limits")

FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(["one2345_blender.pipeline.convert"])
OnStage = Callable[[str], None]


def convert(
    folder: Path, preset: Path, on_stage: OnStage, models: ModelCache | None = None
) -> dict[str, str]:
    """A tiny conversion; `on_stage` is called as each stage begins."""

    def on_event(event: PipelineEvent) -> None:
        if isinstance(event, StageStarted):
            on_stage(event.stage)

    picture = folder.parent / f"{folder.name}.png"
    if not picture.exists():
        rgba = np.zeros((64, 64, 4), dtype=np.uint8)
        rgba[12:52, 16:48] = (200, 120, 40, 255)
        Image.fromarray(rgba).save(picture)
    spec = JobSpec(
        job_id="fault",
        image_path=picture,
        output_dir=folder,
        preset=str(preset),
        elevation_deg=20.0,
        device="cpu",
    )
    return convert_image(spec, models=models or ModelCache(), on_event=on_event).files


def die_at_stage(folder: Path, preset: Path, last_stage: str, number: int) -> None:
    def on_stage(stage: str) -> None:
        if stage == last_stage:
            os.kill(os.getpid(), number)

    convert(folder, preset, on_stage)


def die_at_rename(folder: Path, preset: Path, count: int) -> None:
    """Die when the `count`-th result file is about to get its name."""
    renames = 0

    def on_audit(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal renames
        if event == "os.rename" and str(arguments[1]).startswith(str(folder)):
            renames += 1
            if renames == count:
                os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(on_audit)
    convert(folder, preset, lambda stage: None)


def starve(folder: Path, preset: Path, outcome: Path) -> None:
    """Allow hardly any more memory from the cost volume on; note how the conversion ends."""

    def on_stage(stage: str) -> None:
        if stage == "cost_volume":
            pages = int(Path("/proc/self/statm").read_text().split()[0])
            limit = pages * os.sysconf("SC_PAGE_SIZE") + 1_000_000
            resource.setrlimit(resource.RLIMIT_AS, (limit, limit))

    try:
        convert(folder, preset, on_stage)
    except One2345Error as error:
        outcome.write_text(f"{error.code}: {error.hint}")


def starve_in_each_stage(folder: Path, preset: Path, outcomes: Path) -> None:
    """As each stage begins, in one conversion after the other, take all memory that is left."""
    folder.mkdir()
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + 2_000_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    models, ended = ModelCache(), {}
    for last_stage in STAGES:

        def on_stage(stage: str, last_stage: str = last_stage) -> None:
            hoard = []
            while stage == last_stage:
                hoard.append(bytearray(10_000_000))

        try:
            convert(folder / last_stage, preset, on_stage, models)
        except Exception as error:
            ended[last_stage] = getattr(error, "code", repr(error))
    outcomes.write_text(json.dumps(ended))


def starve_while_reading(folder: Path, preset: Path, outcome: Path) -> None:
    """Allow less memory than the picture has pixels."""
    folder.mkdir()
    Image.new("RGB", (6000, 6000)).save(folder.parent / f"{folder.name}.png")
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + 50_000_000
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    try:
        convert(folder, preset, lambda stage: None)
    except One2345Error as error:
        outcome.write_text(f"{error.code}: {error.hint}")


def run(target: Callable[..., None], *arguments: object) -> int:
    """The exit status of a process that runs `target`."""
    process = FORK.Process(target=target, args=arguments)
    process.start()
    process.join(300)
    assert process.exitcode is not None, "it still runs"
    return process.exitcode


@pytest.fixture(scope="module")
def whole_files(tiny_preset: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """What an undisturbed conversion leaves, by path in its folder."""
    folder = tmp_path_factory.mktemp("whole") / "job"
    convert(folder, tiny_preset, lambda stage: None)
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def assert_nothing_is_half_there(folder: Path, whole_files: dict[str, bytes]) -> None:
    for path in folder.rglob("*"):
        if path.name == REPORT_JSON:  # holds times
            json.loads(path.read_text())
        elif path.is_file() and not path.name.endswith(".part"):
            assert path.read_bytes() == whole_files[str(path.relative_to(folder))], path.name


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGSEGV], ids=lambda n: n.name)
@pytest.mark.parametrize("stage", STAGES)
def test_killed_in_any_stage(
    stage: str, number: signal.Signals, tiny_preset: Path, tmp_path: Path
) -> None:
    assert run(die_at_stage, tmp_path / "job", tiny_preset, stage, number) == -number
    assert not [p for p in (tmp_path / "job").rglob("*") if p.is_file()]


@pytest.mark.parametrize("count", [1, 3, 6])
def test_killed_while_writing(
    count: int, tiny_preset: Path, tmp_path: Path, whole_files: dict[str, bytes]
) -> None:
    assert run(die_at_rename, tmp_path / "job", tiny_preset, count) == -signal.SIGKILL
    assert_nothing_is_half_there(tmp_path / "job", whole_files)
    names = [p for p in (tmp_path / "job").rglob("*") if p.is_file() and p.suffix != ".part"]
    assert len(names) == count - 1
    assert not (tmp_path / "job" / REPORT_JSON).exists()


def test_a_disk_that_fills_up_while_writing(
    tiny_preset: Path,
    whole_files: dict[str, bytes],
    small_disk: Callable[[int], Path],
) -> None:
    folder = small_disk(len(whole_files["mesh.npz"]) + len(whole_files["mesh.ply"]) // 2) / "job"
    with pytest.raises(One2345Error) as caught:
        convert(folder, tiny_preset, lambda stage: None)
    assert caught.value.code == "output" and "space" in caught.value.hint
    left = {str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()}
    assert left == {"mesh.npz"}
    assert_nothing_is_half_there(folder, whole_files)


needs_linux = pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="Linux")


@needs_linux
@pytest.mark.parametrize("target", [starve, starve_while_reading])
def test_memory_that_runs_out_has_a_name(
    target: Callable[..., None], tiny_preset: Path, tmp_path: Path
) -> None:
    outcome = tmp_path / "outcome.txt"
    assert run(target, tmp_path / "job", tiny_preset, outcome) == 0
    assert outcome.read_text().startswith("out_of_memory") and "resolution" in outcome.read_text()
    assert not (tmp_path / "job" / "mesh.npz").exists()


@needs_linux
def test_memory_that_runs_out_has_a_name_in_each_stage(tiny_preset: Path, tmp_path: Path) -> None:
    outcomes = tmp_path / "outcomes.json"
    assert run(starve_in_each_stage, tmp_path / "jobs", tiny_preset, outcomes) == 0
    assert json.loads(outcomes.read_text()) == dict.fromkeys(STAGES, "out_of_memory")
    assert not list((tmp_path / "jobs").rglob("mesh.npz"))


def test_an_allocation_that_torch_refuses_has_a_name() -> None:
    import torch

    with pytest.raises(One2345Error) as caught, memory_errors_named():
        torch.ones(2**50)
    assert caught.value.code == "out_of_memory"


def test_a_job_folder_whose_views_lead_elsewhere_is_refused(
    tiny_preset: Path, tmp_path: Path
) -> None:
    elsewhere, folder = tmp_path / "elsewhere", tmp_path / "job"
    elsewhere.mkdir()
    folder.mkdir()
    (folder / "views").symlink_to(elsewhere)
    with pytest.raises(One2345Error, match="got a link"):
        convert(folder, tiny_preset, lambda stage: None)
    assert not list(elsewhere.iterdir())


def test_a_folder_that_vanishes_meanwhile_is_made_again(
    tiny_preset: Path, tmp_path: Path, whole_files: dict[str, bytes]
) -> None:
    folder = tmp_path / "job"

    def on_stage(stage: str) -> None:
        if stage == "sdf":
            folder.rmdir()

    convert(folder, tiny_preset, on_stage)
    assert_nothing_is_half_there(folder, whole_files)
    assert (folder / "mesh.glb").is_file()
