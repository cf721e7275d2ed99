# SPDX-License-Identifier: GPL-3.0-or-later
"""What was trained anew takes its place in a preset, with its record and card."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from own_models import render_own_models

from one2345_blender.pipeline.lifting.photo_lifter import PhotoLifter
from one2345_blender.pipeline.model_cache import load_pipeline
from one2345_blender.pipeline.preset_folders import packaged_preset
from one2345_blender.training import assemble
from one2345_blender.training.framing import VIEW_SIZE_PX
from one2345_blender.training.model_card import CARD_NAME
from one2345_blender.training.run_folder import LOG_NAME, PROGRESS_NAME
from one2345_blender.training.training_record import read_record
from one2345_blender.training.view_recipes import UNGUIDED, Sampling

CPU = torch.device("cpu")


@pytest.mark.preset
def test_a_trained_lifter_joins_the_preset(tmp_path: Path) -> None:
    data = render_own_models(tmp_path, VIEW_SIZE_PX)
    preset = Path(shutil.copytree(packaged_preset("embedded"), tmp_path / "preset"))
    before, record_before = load_pipeline(preset, CPU), read_record(preset)
    trained = PhotoLifter.from_pretrained(preset / "photo_lifter")
    with torch.no_grad():
        trained.unet.conv_out.bias.add_(0.25)
    run = data / "lifter"
    trained.save_pretrained(run / "photo_lifter")
    entry = {"step": 90, "seconds": 1800.0}
    (run / PROGRESS_NAME).write_text(json.dumps(entry | {"objects": 2}))
    (run / LOG_NAME).write_text(json.dumps(entry | {"started_from": str(preset)}) + "\n")

    assemble.main(["--data", str(data), "--output", str(preset)])

    after = load_pipeline(preset, CPU)
    assert after.config == before.config
    bias = after.photo_lifter.unet.conv_out.bias - before.photo_lifter.unet.conv_out.bias
    torch.testing.assert_close(bias.float(), torch.full_like(bias, 0.25).float(), atol=2e-3, rtol=0)
    assert torch.equal(after.unet.conv_in.weight, before.unet.conv_in.weight)
    record = read_record(preset)
    assert record["lifter"].trainings[:-1] == record_before["lifter"].trainings
    newest = record["lifter"].trainings[-1]
    assert (newest.steps, newest.hours, newest.objects) == (90, 0.5, 2)
    assert {**record, "lifter": None} == {**record_before, "lifter": None}
    card = (preset / CARD_NAME).read_text(encoding="utf-8")
    assert " + 90 | " in card and "**Gate " in card and "| over 45 degrees | " in card
    assert "_name_or_path" not in (preset / "photo_lifter" / "config.json").read_text()

    (run / PROGRESS_NAME).unlink()
    assemble.main(["--data", str(data), "--output", str(preset), "--sampling", "unguided"])
    unguided = load_pipeline(preset, CPU)
    assert Sampling.of_preset(unguided.config) == UNGUIDED
    assert unguided.zero123.config.strength == 1.0
    assert read_record(preset) == record
