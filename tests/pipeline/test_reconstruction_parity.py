# SPDX-License-Identifier: GPL-3.0-or-later
"""The reconstruction against the original's own numbers, intermediate by intermediate."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

from one2345_blender.contracts.cameras import CameraRig, method_intrinsics, swap_camera_axes
from one2345_blender.evaluation.parity import compare, format_table, original_reconstructor

GOLDEN = Path(__file__).parents[1] / "golden"


def test_every_intermediate_equals_the_original() -> None:
    with Image.open(GOLDEN / "original_reconstruction_views.webp") as mosaic:
        tiles = np.asarray(mosaic.convert("RGB")).reshape(8, 256, 4, 256, 3)
    images = tiles.transpose(0, 2, 4, 1, 3).reshape(32, 3, 256, 256)
    with np.load(GOLDEN / "original_poses.npz") as poses:
        c2w = swap_camera_axes(poses["c2w_blender_polar60"])
    cameras = CameraRig(
        names=tuple(f"near{i}" for i in range(32)),
        c2w=c2w[8:],
        K=method_intrinsics(256),
        height_px=256,
        width_px=256,
    )
    reconstructor = original_reconstructor(GOLDEN / "original_reconstruction_seed0.pth", 48)
    with np.load(GOLDEN / "original_reconstruction_48.npz") as recording:
        differences = list(compare(reconstructor, recording, images, cameras, c2w[0]))
    outside = [difference for difference in differences if not difference.is_within]
    assert not outside, f"\n{format_table(outside)}"
    assert len(differences) > 30
