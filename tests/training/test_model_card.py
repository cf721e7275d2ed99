# SPDX-License-Identifier: GPL-3.0-or-later
"""The model card says what the runs' own records say."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

import pytest
from torch import nn

from one2345_blender.pipeline.preset_folders import packaged_preset
from one2345_blender.training.model_card import CARD_NAME, write_model_card
from one2345_blender.training.run_folder import LOG_NAME, PROGRESS_NAME, RunProgress
from one2345_blender.training.training_record import TrainedNetwork, read_record, write_record
from one2345_blender.training.validate_views import FAR

PARTS = {
    "autoencoder": ("vae",),
    "decoder": ("vae",),
    "elevation": ("photo_elevation",),
    "lifter": ("photo_lifter",),
    "views": ("unet", "image_encoder", "clip_camera_projection"),
    "reconstruction": ("reconstruction",),
    "segmenter": ("segmenter",),
}
LAST_ENTRY = {
    "psnr_db": 25.5,
    "scores": {"median_deg": 7.0, "mean_deg": 9.0, "within_10": 0.6},
    "validation": {"true_iou": 0.5},
    "iou": 0.8,
}
SCORE = {"psnr_db": 15.0, "input_psnr_db": 14.0, "iou": 0.6, "input_iou": 0.5}


@pytest.fixture
def rows(tmp_path: Path) -> dict[str, list[str]]:
    """The table of runs, by name; the decoder's state is from before objects were counted."""
    for number, run in enumerate(PARTS):
        (tmp_path / run).mkdir()
        progress = asdict(RunProgress(step=1500, images=9, seconds=7200.0, objects=1000 + number))
        if run == "decoder":
            del progress["objects"]
        (tmp_path / run / PROGRESS_NAME).write_text(json.dumps(progress))
        (tmp_path / run / LOG_NAME).write_text(json.dumps(LAST_ENTRY) + "\n")
    networks = {part: nn.Linear(2, 1) for parts in PARTS.values() for part in parts}
    write_model_card(tmp_path, tmp_path, networks, {"level": SCORE, FAR: SCORE})
    card = (tmp_path / CARD_NAME).read_text(encoding="utf-8")
    assert "**Gate missed.**" in card and "They have 1.00 dB more, and 0.600" in card
    cells = [line.strip("| ").split(" | ") for line in card.splitlines() if line.startswith("| ")]
    assert ["level", "15.0", "14.0", "0.6", "0.5"] in cells
    return {row[0]: row for row in cells if len(row) == 6}


def test_every_network_is_listed_with_its_run(rows: dict[str, list[str]]) -> None:
    header = rows["network"]
    for run, parts in PARTS.items():
        row = dict(zip(header, rows[run], strict=True))
        assert row["parameters"] == str(3 * len(parts))
        assert (row["steps"], row["hours"]) == ("1,500", "2.0")


def test_objects_are_those_that_the_run_counted(rows: dict[str, list[str]]) -> None:
    objects = {run: rows[run][rows["network"].index("objects")] for run in PARTS}
    assert objects.pop("decoder") == "not recorded"
    assert objects == {
        run: f"{1000 + number:,}" for number, run in enumerate(PARTS) if run != "decoder"
    }


def run_folder(folder: Path, *, steps: int, **started: str) -> Path:
    """A run's log and progress; it began at `steps` o'clock."""
    folder.mkdir(exist_ok=True)
    entries = [{"time": f"{steps}:00:00", **started}, {"step": steps, "iou": steps / 100.0}]
    (folder / LOG_NAME).write_text("".join(json.dumps(entry) + "\n" for entry in entries))
    progress = asdict(RunProgress(step=steps, images=9, seconds=3600.0, objects=5))
    (folder / PROGRESS_NAME).write_text(json.dumps(progress))
    return folder


def test_trainings_that_went_on_stand_beside_those_before(tmp_path: Path) -> None:
    network = TrainedNetwork()
    network.add(run_folder(tmp_path / "first", steps=10))
    network.add(run_folder(tmp_path / "second", steps=20, started_from="preset"))
    network.add(run_folder(tmp_path / "second", steps=20, started_from="preset"))
    assert [training.steps for training in network.trainings] == [10, 20]
    write_record(tmp_path, {"segmenter": network})
    assert read_record(tmp_path) == {"segmenter": network}
    assert network.scores == {"iou": 0.2}
    network.add(run_folder(tmp_path / "anew", steps=7))
    assert [training.steps for training in network.trainings] == [7]


def test_the_record_is_of_the_state_that_was_kept(tmp_path: Path) -> None:
    """A run whose second validation was its best."""
    folder = run_folder(tmp_path / "run", steps=30)
    rows = [
        {"step": step, "seconds": 360.0 * step, "validation": {"true_iou": iou}, "exported": best}
        for step, iou, best in ((10, 0.4, True), (20, 0.6, True), (30, 0.5, False))
    ]
    with (folder / LOG_NAME).open("a") as log:
        log.writelines(json.dumps(row) + "\n" for row in rows)
    network = TrainedNetwork()
    network.add(folder)
    assert (network.trainings[0].steps, network.trainings[0].hours) == (20, 2.0)
    assert network.scores == {"validation": {"true_iou": 0.6}}


def test_the_embedded_preset_has_a_record_of_every_run() -> None:
    record = read_record(packaged_preset("embedded"))
    assert record.keys() == PARTS.keys()
    assert all(network.trainings for network in record.values())


@pytest.mark.preset
def test_the_panel_says_whether_the_gate_was_missed() -> None:
    card = (packaged_preset("embedded") / CARD_NAME).read_text(encoding="utf-8")
    panel = (packaged_preset("embedded").parents[2] / "addon" / "properties.py").read_text()
    assert ("**Gate missed.**" in card) == ("not yet as good as they were meant" in panel)
