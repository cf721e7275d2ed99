# SPDX-License-Identifier: GPL-3.0-or-later
"""The view synthesis against the original's own numbers, intermediate by intermediate."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from one2345_blender.evaluation.parity import format_table
from one2345_blender.evaluation.parity_views import RUNS, compare_with_recording
from one2345_blender.pipeline.zero123.camera_projection import camera_condition
from one2345_blender.pipeline.zero123.convert_checkpoint import load_ldm_checkpoint
from one2345_blender.pipeline.zero123.image_conditioning import encode_tokens, images_from_rgb
from one2345_blender.pipeline.zero123.network_configs import build_networks

GOLDEN = Path(__file__).parents[1] / "golden"
LARGEST_DIFFERENCE = 1e-4


@torch.no_grad()
def test_clip_embedding_and_token_equal_the_original() -> None:
    excerpt = load_file(GOLDEN / "zero123_small_clip.safetensors")
    recorded = {
        key.removeprefix("recorded."): excerpt.pop(key)
        for key in list(excerpt)
        if key.startswith("recorded.")
    }
    with np.load(GOLDEN / "zero123_sampler.npz") as golden:
        lines = [line.split() for line in str(golden["ldm_keys"]).splitlines()]
    others = {name: torch.zeros([int(size) for size in shape]) for name, *shape in lines}
    networks = build_networks(json.loads((GOLDEN / "zero123_small_config.json").read_text()))
    load_ldm_checkpoint(others | excerpt, **networks)
    images = images_from_rgb(recorded["input_image_u8"][None].numpy())
    embeds, _ = encode_tokens(networks["image_encoder"], images)
    deltas = recorded["deltas"].float()
    context = networks["clip_camera_projection"](
        embeds.repeat(len(deltas), 1), camera_condition(deltas[:, 0], deltas[:, 1])
    )
    for ours, theirs in ((embeds[:, None], "clip_embed"), (context, "c_crossattn")):
        torch.testing.assert_close(ours, recorded[theirs], atol=LARGEST_DIFFERENCE, rtol=0.0)


@pytest.mark.reference
def test_every_intermediate_equals_the_original() -> None:
    differences = list(compare_with_recording(Path(os.environ["ONE2345_REFERENCE"])))
    outside = [difference for difference in differences if not difference.is_within]
    assert not outside, f"\n{format_table(outside)}"
    assert len(differences) == 9 + 2 * len(RUNS)


@pytest.mark.reference
def test_networks_in_half_precision_stay_near_the_original() -> None:
    folder = Path(os.environ["ONE2345_REFERENCE"])
    differences = list(compare_with_recording(folder, torch.bfloat16, most_steps=8))
    outside = [difference for difference in differences if not difference.is_within]
    assert not outside, f"\n{format_table(outside)}"
