# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the true objects come from: the rendered training data, or a folder of model files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ..contracts.errors import OptionError
from ..training.asset_readers.model_file import MODEL_SUFFIXES, read_model_file
from ..training.framing import VIEW_SIZE_PX
from ..training.manifest import read_manifest
from ..training.model_readers import find_entries, load_model
from ..training.rasterizer import Rasterizer
from ..training.renders import is_rendered, load_rigs, object_seed_text, render_rigs
from ..training.view_data import read_split
from .truth import TrueObject, read_truth


def rendered_objects(
    data_dir: Path, part: str, limit: int, *, packages_dir: Path, manifest: Path, size_px: int
) -> Iterator[TrueObject]:
    """The first `limit` objects of a part of the split, in its order, views of `size_px`.

    Raises:
        OptionError: The manifest is not that of the rendered data, or a render is missing.
        ManifestError, ModelFileError, TruthError: A model is missing or not the one rendered.
    """
    models = read_manifest(manifest)
    assets = {asset.asset_id: asset for asset in models.assets}
    asset_ids = read_split(data_dir, part)[:limit]
    for asset_id in asset_ids:
        if asset_id not in assets:
            raise OptionError(
                f"Expected {asset_id} of {data_dir} in {manifest}, but it is not there.",
                hint="Give the manifest that the data was rendered with (--manifest).",
            )
        if not is_rendered(data_dir / "renders" / f"{asset_id}.npz"):
            raise OptionError(
                f"Expected renders of {asset_id} in {data_dir}, but there are none.",
                hint="Run `python -m one2345_blender.training renders`.",
            )
    wanted = [assets[asset_id] for asset_id in asset_ids]
    for asset, library, entry in find_entries(wanted, models, packages_dir):
        rigs = load_rigs(data_dir / "renders" / f"{asset.asset_id}.npz")
        model = load_model(library, entry, packages_dir)
        yield read_truth(
            asset.asset_id,
            model,
            rigs,
            seed_text=object_seed_text(asset.asset_id),
            size_px=size_px,
        )


def model_file_objects(folder: Path, limit: int, *, size_px: int) -> Iterator[TrueObject]:
    """The first `limit` models below a folder, by path; each named after its path in the folder.

    Their input views are drawn like those of the training data: random turn, elevation and light,
    which follow from the name alone.

    Raises:
        OptionError: There is no such folder.
        ModelFileError: A file cannot be read.
    """
    if not folder.is_dir():
        raise OptionError(
            f"Expected a folder of 3D models, got {folder}.", hint="Give an existing folder."
        )
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in MODEL_SUFFIXES)
    for path in paths[:limit]:
        name = path.relative_to(folder).as_posix()
        model = read_model_file(path)
        seed_text = object_seed_text(name)
        with Rasterizer(VIEW_SIZE_PX) as rasterizer:
            rigs = render_rigs(model, rasterizer, num_rigs=1, seed_text=seed_text)
        yield read_truth(name, model, rigs, seed_text=seed_text, size_px=size_px)
