# SPDX-License-Identifier: GPL-3.0-or-later
"""Catalogues, models, selection and manifest, on a catalogue made here."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from crate_library import LIBRARY, write_crate_library

pytest.importorskip("moderngl", reason="moderngl is not installed")

from one2345_blender.contracts.errors import EnvironmentMissingError
from one2345_blender.training.asset_readers.furniture_catalogue import (
    load_model,
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
from one2345_blender.training.inspection_file import (
    append_inspection,
    inspection_key,
    read_inspections,
)
from one2345_blender.training.libraries import (
    LIBRARIES,
    TRAINING_LICENCES,
    libraries_under,
)
from one2345_blender.training.manifest import ManifestError, read_manifest, write_manifest
from one2345_blender.training.model_readers import find_entries
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
    model = load_model(path, crate)
    assert model.extent == pytest.approx([0.4, 0.8, 0.2])  # width X, depth Y, height Z
    front = model.parts[0]
    assert front.positions[:, 1] == pytest.approx(model.points[:, 1].min())
    assert front.normals == pytest.approx(np.tile([0.0, -1.0, 0.0], (6, 1)), abs=1e-6)
    turned_front = load_model(path, lying).parts[0]
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
    assert inspected[0][1].coverage > 0.2 and inspected[0][1].coherence == 1.0
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
            Inspection(
                shape_hash=f"{library.key}{i}",
                thickness=0.5,
                coverage=0.3,
                coherence=1.0,
                num_triangles=100,
            ),
        )
        for i in range(count)
    ]


def library_of(key: str):
    return next(library for library in LIBRARIES if library.key == key)


def test_split_is_by_object_and_keeps_test_libraries_out_of_training(packages_dir):
    inspected = good_inspections(packages_dir, LIBRARY, 100)
    inspected += good_inspections(packages_dir, library_of("eteks"), 5)
    inspected += good_inspections(packages_dir, library_of("miniworld"), 3)
    manifest = select_assets(inspected)
    assert len(manifest.ids("val")) == NUM_VALIDATION_ASSETS
    assert len(manifest.ids("train")) == 100 - NUM_VALIDATION_ASSETS
    assert manifest.ids("near_test") == [f"eteks_{i}" for i in range(5)]
    assert manifest.ids("far_test") == [f"miniworld_{i}" for i in range(3)]
    assert set(manifest.ids("val")) == set(select_assets(inspected[::-1]).ids("val"))


def test_a_further_library_is_only_appended(packages_dir):
    first = good_inspections(packages_dir, LIBRARY, 60)
    before = select_assets(first)
    after = select_assets(first + good_inspections(packages_dir, library_of("0ad"), 200))
    assert after.ids("val") == before.ids("val")
    assert after.ids("train")[: len(before.ids("train"))] == before.ids("train")
    assert len(after.assets) == 260


def test_scattered_props_and_placeholders_are_left_out(packages_dir):
    pairs = good_inspections(packages_dir, library_of("0ad"), 3)
    whole, scattered, place = (inspection for _, inspection in pairs)
    pairs = [
        (pairs[0][0], whole),
        (pairs[1][0], replace(scattered, coherence=0.4)),
        (pairs[2][0], replace(place, num_triangles=1)),
    ]
    reasons = [row.reason.split(":")[0] for row in select_assets(pairs).dropped]
    assert reasons == ["scattered", "1 triangles"]
    table_and_chairs = good_inspections(packages_dir, LIBRARY, 1)[0]
    kept = select_assets([(table_and_chairs[0], replace(scattered, coherence=0.4))])
    assert len(kept.assets) == 1


def test_licences_choose_what_is_trained_on_and_not_what_is_tested_on():
    free = libraries_under(["CC0"])
    assert {lib.licence for lib in free if lib.test_split is None} == {"CC0-1.0"}
    assert all(library in free for library in LIBRARIES if library.test_split)
    assert library_of("0ad") not in libraries_under(["CC0", "CC-BY"])
    assert libraries_under(TRAINING_LICENCES) == list(LIBRARIES)
    assert library_of("katorlegaz").licence_family == "CC-BY"


def test_inspections_survive_an_interruption(packages_dir, tmp_path):
    (candidate, found), (other, _) = good_inspections(packages_dir, LIBRARY, 2)
    path = tmp_path / "inspections.jsonl"
    assert read_inspections(path) == {}
    with path.open("a") as file:
        append_inspection(file, inspection_key(candidate), found)
        append_inspection(file, inspection_key(other), "cannot be read")
        file.write('\n{"key": "cut o')
    with path.open("a") as file:
        append_inspection(file, "third", found)
    expected = {inspection_key(candidate): found, inspection_key(other): "cannot be read"}
    assert read_inspections(path) == {**expected, "third": found}


def test_a_library_of_another_version_is_noticed(packages_dir):
    manifest = select_assets(good_inspections(packages_dir, LIBRARY, 1))
    (asset,) = manifest.assets
    assert find_entries([asset], manifest, packages_dir)[0][1] == LIBRARY
    with pytest.raises(ModelFileError, match=r"gone\.obj"):
        find_entries([replace(asset, model="models/gone.obj")], manifest, packages_dir)


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
        library = libraries[asset.library]
        assert asset.author
        assert f"`{asset.model}`" in attribution and library.licence_url in attribution
        assert (asset.split in ("train", "val")) == (library.test_split is None)
        assert library.test_split or library.licence_family in TRAINING_LICENCES


def test_published_splits_do_not_change():
    """Networks were trained on the first libraries' objects: those keep their order and split."""
    first = [library.key for library in LIBRARIES if library.reader == "furniture"]
    rows = [asset for asset in read_manifest(MANIFEST_PATH).assets if asset.library in first]
    lines = "\n".join(f"{asset.asset_id} {asset.split}" for asset in rows)
    assert len(rows) == 855
    assert hashlib.sha256(lines.encode()).hexdigest().startswith("831214b59890ccb9")
