# SPDX-License-Identifier: GPL-3.0-or-later
"""CLIP's opinion, with a tiny untrained CLIP."""

import numpy as np
import pytest

from one2345_blender.contracts.errors import CheckpointError
from one2345_blender.evaluation.clip_similarity import ClipSimilarity


def test_equal_pictures_are_alike_and_others_less(tiny_preset):
    clip = ClipSimilarity(tiny_preset / "image_encoder")
    pictures = np.random.default_rng(0).integers(0, 255, (2, 32, 32, 3), np.uint8)
    assert clip(pictures, pictures) == pytest.approx(1.0, abs=1e-5)
    assert clip(pictures, pictures[::-1]) < 0.9999
    white = np.full_like(pictures, 255)
    assert clip(pictures, white) == pytest.approx(clip(white, pictures), abs=1e-6)


def test_a_folder_without_a_model_is_named(tmp_path):
    with pytest.raises(CheckpointError, match="CLIP"):
        ClipSimilarity(tmp_path)
