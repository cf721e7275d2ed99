# SPDX-License-Identifier: GPL-3.0-or-later
"""A test set of one crate, rendered as small as the tiny preset's views."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import pytest
from crate_library import LIBRARY, write_crate_library
from tiny_preset import VIEW_SIZE_PX

from one2345_blender.contracts.errors import EnvironmentMissingError
from one2345_blender.training.asset_readers.furniture_catalogue import (
    load_model,
    read_catalogue,
)
from one2345_blender.training.asset_readers.textured_model import TexturedModel
from one2345_blender.training.manifest import Asset, Manifest, write_manifest
from one2345_blender.training.rasterizer import Rasterizer
from one2345_blender.training.renders import object_seed_text, render_rigs, save_rigs


@dataclass(frozen=True, kw_only=True)
class CrateSet:
    """Where the test set lies."""

    folder: Path
    """Data, packages and `manifest.json`."""
    asset_id: str
    model: TexturedModel


@pytest.fixture(scope="session")
def crate_set(tmp_path_factory: pytest.TempPathFactory) -> CrateSet:
    folder = tmp_path_factory.mktemp("crate_set")
    write_crate_library(folder)
    archive_path = folder / LIBRARY.file_name
    crate = read_catalogue(archive_path).entries[0]
    asset = Asset(
        asset_id=f"{LIBRARY.key}_crate",
        name=crate.name,
        author=crate.creator,
        library=LIBRARY.key,
        model=crate.model_path,
        category=crate.category,
        split="val",
    )
    manifest = Manifest(libraries=(LIBRARY,), assets=(asset,), dropped=())
    write_manifest(manifest, folder / "manifest.json")
    (folder / "split.json").write_text(json.dumps({"val": [asset.asset_id], "train": []}))
    model = load_model(archive_path, crate)
    try:
        with Rasterizer(VIEW_SIZE_PX) as rasterizer:
            seed_text = object_seed_text(asset.asset_id)
            rigs = render_rigs(model, rasterizer, num_rigs=1, seed_text=seed_text)
    except EnvironmentMissingError as error:
        pytest.skip(error.message)
    (folder / "renders").mkdir()
    save_rigs(rigs, folder / "renders" / f"{asset.asset_id}.npz")
    return CrateSet(folder=folder, asset_id=asset.asset_id, model=model)
