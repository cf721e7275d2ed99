# SPDX-License-Identifier: GPL-3.0-or-later
"""Cut-outs of a crate: the object alone, the same each time, drawn only where there is none."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from crate_library import LIBRARY, write_crate_library

from one2345_blender.contracts.errors import EnvironmentMissingError
from one2345_blender.training.cutouts import (
    CUTOUT_SIZE_PX,
    MIN_COVERAGE,
    NUM_VIEWS,
    load_cutouts,
    render_cutouts,
    rgba_from_render,
)
from one2345_blender.training.manifest import Asset, Manifest

CRATE = Asset(
    asset_id="crate",
    name="crate",
    author="Somebody",
    library=LIBRARY.key,
    model="models/crate/crate.obj",
    category="Kitchen",
    split="val",
)
MANIFEST = Manifest(libraries=(LIBRARY,), assets=(CRATE,), dropped=())


@pytest.fixture(scope="module")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("packages")
    write_crate_library(folder)
    return folder


@pytest.fixture(scope="module")
def cutouts_dir(packages: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("cutouts")
    try:
        render_cutouts([CRATE], MANIFEST, packages, folder)
    except EnvironmentMissingError as error:
        pytest.skip(error.message)
    return folder


def stored(folder: Path) -> np.ndarray:
    with np.load(folder / "crate.npz") as arrays:
        return arrays["rgba"]


def test_every_view_shows_the_crate_whole_and_alone(cutouts_dir):
    rgba = stored(cutouts_dir)
    assert rgba.shape == (NUM_VIEWS["val"], CUTOUT_SIZE_PX, CUTOUT_SIZE_PX, 4)
    covered = rgba[..., 3] > 0
    assert not np.concatenate([covered[:, [0, -1]], covered[:, :, [0, -1]].swapaxes(1, 2)]).any()
    assert (covered.mean((1, 2)) > MIN_COVERAGE).all()
    assert not np.array_equal(rgba[0], rgba[1])


def test_they_are_the_same_wherever_they_are_drawn(cutouts_dir, packages, tmp_path):
    render_cutouts([CRATE], MANIFEST, packages, tmp_path)
    assert np.array_equal(stored(tmp_path), stored(cutouts_dir))


def test_what_is_there_needs_no_model(cutouts_dir, tmp_path):
    before = (cutouts_dir / "crate.npz").stat()
    render_cutouts([CRATE], MANIFEST, tmp_path / "no packages", cutouts_dir)
    assert (cutouts_dir / "crate.npz").stat() == before


def test_loaded_ones_end_where_the_object_ends(cutouts_dir):
    views = load_cutouts([CRATE], cutouts_dir)
    assert len(views) == NUM_VIEWS["val"]
    for view, whole in zip(views, stored(cutouts_dir), strict=True):
        covered = view[..., 3] > 127
        assert covered[[0, -1]].any(1).all() and covered[:, [0, -1]].any(0).all()
        assert covered.sum() == (whole[..., 3] > 127).sum()


def test_views_that_show_too_little_are_left_out(tmp_path):
    rgba = np.zeros((2, 100, 100, 4), np.uint8)
    rgba[0, :20, :20] = 255
    rgba[1, 30:80, 10:70] = 255
    np.savez(tmp_path / "crate.npz", rgba=rgba)
    (view,) = load_cutouts([CRATE], tmp_path)
    assert view.shape == (50, 60, 4)


def test_a_render_is_itself_again_on_white():
    rng = np.random.default_rng(0)
    mask = rng.integers(64, 256, (8, 8), np.uint8)
    color = rng.integers(0, 256, (8, 8, 3), np.uint8)
    alpha = mask[..., None] / 255
    on_white = (alpha * color + (1 - alpha) * 255).round().astype(np.uint8)
    rgba = rgba_from_render(on_white, mask)
    again = alpha * rgba[..., :3] + (1 - alpha) * 255
    assert np.abs(again - on_white).max() <= 1
    assert np.array_equal(rgba[..., 3], mask)
