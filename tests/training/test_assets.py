# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogues, models, selection and manifest, on a catalogue made here."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from crate_library import LIBRARY, write_crate_library

pytest.importorskip("moderngl", reason="moderngl is not installed")

from one2345_blender.contracts.errors import EnvironmentMissingError
from one2345_blender.training.asset_readers.furniture_catalogue import (
    load_furniture,
    parse_properties,
    read_catalogue,
)
from one2345_blender.training.asset_readers.mtl_materials import parse_mtl
from one2345_blender.training.asset_readers.obj_model import ModelFileError, read_obj
from one2345_blender.training.asset_readers.textured_model import shape_hash
from one2345_blender.training.assets import (
    NUM_VALIDATION_ASSETS,
    Candidate,
    Inspection,
    inspect_candidate,
    list_candidates,
    select_assets,
)
from one2345_blender.training.assets_command import ATTRIBUTION_PATH, MANIFEST_PATH
from one2345_blender.training.libraries import LIBRARIES
from one2345_blender.training.manifest import ManifestError, read_manifest, write_manifest
from one2345_blender.training.rasterizer import Rasterizer


@pytest.fixture
def packages_dir(tmp_path: Path) -> Path:
    """A folder with one library: a crate, the same crate lying on its back, and a sheet."""
    write_crate_library(tmp_path)
    return tmp_path


def test_catalogue_gives_names_authors_and_sizes(packages_dir):
    catalogue = read_catalogue(packages_dir / LIBRARY.file_name)
    assert catalogue.licence_text == "Public domain"
    assert [entry.name for entry in catalogue.entries] == ["Café crate"] * 3
    assert catalogue.entries[0].creator == "Somebody"
    assert catalogue.entries[0].size_cm == (40.0, 80.0, 20.0)


def test_properties_continue_lines_and_skip_comments():
    assert parse_properties("# no\na = 1\\\n   2\n\nb=x=y\n") == {"a": "12", "b": "x=y"}


def test_missing_library_says_how_to_get_it(tmp_path):
    with pytest.raises(ModelFileError) as caught:
        read_catalogue(tmp_path / "absent.sh3f")
    assert "install_training_packages" in caught.value.hint


def test_furniture_is_upright_and_as_large_as_its_catalogue_says(packages_dir):
    path = packages_dir / LIBRARY.file_name
    crate, lying, _sheet = read_catalogue(path).entries
    model = load_furniture(path, crate)
    assert model.extent == pytest.approx([0.4, 0.8, 0.2])  # width X, depth Y, height Z
    front = model.parts[0]
    assert front.positions[:, 1] == pytest.approx(model.points[:, 1].min())
    assert front.normals == pytest.approx(np.tile([0.0, -1.0, 0.0], (6, 1)), abs=1e-6)
    turned_front = load_furniture(path, lying).parts[0]
    assert np.abs(turned_front.normals) == pytest.approx(np.tile([0, 0, 1.0], (6, 1)), abs=1e-6)


def test_texture_replaces_the_diffuse_colour_and_ghosts_vanish(packages_dir):
    with ZipFile(packages_dir / LIBRARY.file_name) as archive:
        model = read_obj(archive, "models/crate/crate.obj")
    painted, plain = model.parts
    assert painted.texture is not None
    assert painted.texture[0, 0].tolist() == [200, 100, 50, 255]
    assert painted.base_color == (1.0, 1.0, 1.0)
    assert plain.base_color == (0.5, 0.25, 1.0)
    assert model.num_triangles == 12
    assert painted.uv.tolist() == [[0, 0], [1, 0], [1, 1], [0, 0], [1, 1], [0, 1]]


def test_faces_without_normals_are_flat_at_sharp_edges(packages_dir):
    with ZipFile(packages_dir / LIBRARY.file_name) as archive:
        model = read_obj(archive, "models/crate/crate.obj")
    normals = np.concatenate([part.normals for part in model.parts])
    assert np.sort(np.abs(normals), axis=1) == pytest.approx(np.tile([0, 0, 1.0], (36, 1)))


def test_mtl_skips_what_it_does_not_know():
    materials = parse_mtl("Kd 1 1 1\nnewmtl a b\nKd spectral x\nKs 1 1 1\nd 0.5\n")
    assert materials["a b"].opacity == 0.5
    assert materials["a b"].diffuse == (0.8, 0.8, 0.8)


def test_shape_hash_is_blind_to_scale_position_and_order():
    points = np.random.default_rng(0).uniform(size=(50, 3))
    assert shape_hash(points) == shape_hash(points[::-1] * 8.0 + 3.0)
    assert shape_hash(points) != shape_hash(points * [1.0, 1.0, 2.0])


def test_inspection_finds_flat_and_equal_models(packages_dir):
    candidates = list_candidates(packages_dir, [LIBRARY])
    try:
        with Rasterizer(64) as rasterizer:
            inspected = [(c, inspect_candidate(c, packages_dir, rasterizer)) for c in candidates]
    except EnvironmentMissingError as error:
        pytest.skip(error.message)
    assert inspected[0][1].coverage > 0.2
    inspected[1] = (candidates[1], inspected[0][1])
    manifest = select_assets(inspected)
    assert [asset.asset_id for asset in manifest.assets] == ["blendswap-cc0_crate"]
    assert [asset.reason.split(":")[0] for asset in manifest.dropped] == [
        "same shape as blendswap-cc0_crate",
        "flat",
    ]


def good_inspections(packages_dir: Path, library, count: int):
    """Pairs of `count` invented candidates, all different and fit for use."""
    template = list_candidates(packages_dir, [LIBRARY])[0]
    return [
        (
            Candidate(asset_id=f"{library.key}_{i}", library=library, entry=template.entry),
            Inspection(shape_hash=f"{library.key}{i}", thickness=0.5, coverage=0.3),
        )
        for i in range(count)
    ]


def test_split_is_by_object_and_keeps_test_libraries_out_of_training(packages_dir):
    evaluation = next(library for library in LIBRARIES if library.evaluation_only)
    inspected = good_inspections(packages_dir, LIBRARY, 100)
    inspected += good_inspections(packages_dir, evaluation, 5)
    manifest = select_assets(inspected)
    assert len(manifest.ids("val")) == NUM_VALIDATION_ASSETS
    assert len(manifest.ids("train")) == 100 - NUM_VALIDATION_ASSETS
    assert manifest.ids("near_test") == [f"{evaluation.key}_{i}" for i in range(5)]
    assert set(manifest.ids("val")) == set(select_assets(inspected[::-1]).ids("val"))


def test_manifest_round_trip(packages_dir, tmp_path):
    inspected = good_inspections(packages_dir, LIBRARY, 3)
    inspected.append((replace(inspected[0][0], asset_id="bad"), "cannot be read"))
    manifest = select_assets(inspected)
    path = tmp_path / "manifest.json"
    write_manifest(manifest, path)
    assert read_manifest(path) == manifest
    path.write_text('{"format": 99}')
    with pytest.raises(ManifestError, match="format 1"):
        read_manifest(path)


def test_the_shipped_manifest_attributes_every_model_that_was_used():
    manifest = read_manifest(MANIFEST_PATH)
    attribution = ATTRIBUTION_PATH.read_text(encoding="utf-8")
    libraries = {library.key: library for library in LIBRARIES}
    ids = [asset.asset_id for asset in manifest.assets]
    assert len(ids) == len(set(ids))
    for asset in manifest.assets:
        assert asset.author
        assert f"`{asset.model}`" in attribution
        assert (asset.split == "near_test") == libraries[asset.library].evaluation_only
    for library in libraries.values():
        assert library.licence_url in attribution
        assert library.evaluation_only or library.licence.startswith(("CC0", "CC-BY-3.0"))
