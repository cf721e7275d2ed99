# SPDX-License-Identifier: GPL-3.0-or-later
"""The reconstruction against the original's own numbers, intermediate by intermediate."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from one2345_blender.evaluation.parity import (
    compare,
    format_table,
    original_reconstructor,
    read_excerpt_scene,
)

GOLDEN = Path(__file__).parents[1] / "golden"


def test_every_intermediate_equals_the_original() -> None:
    images, cameras, reference_c2w = read_excerpt_scene(GOLDEN)
    reconstructor = original_reconstructor(GOLDEN / "original_reconstruction_seed0.pth", 48)
    with np.load(GOLDEN / "original_reconstruction_48.npz") as recording:
        differences = list(compare(reconstructor, recording, images, cameras, reference_c2w))
    outside = [difference for difference in differences if not difference.is_within]
    assert not outside, f"\n{format_table(outside)}"
    assert len(differences) > 30
