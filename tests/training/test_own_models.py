# SPDX-License-Identifier: GPL-3.0-or-later
"""Files that somebody brings, at a size of their own: from a list of licences to renders."""

from __future__ import annotations

from pathlib import Path

import pytest
from own_models import render_own_models

from one2345_blender.contracts.errors import OptionError
from one2345_blender.training.asset_readers.listed_files import read_entries
from one2345_blender.training.asset_readers.obj_model import ModelFileError
from one2345_blender.training.manifest import read_manifest
from one2345_blender.training.renders import load_rigs, rendered_size_px
from one2345_blender.training.view_data import read_split

SIZE_PX = 48


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("own")
    render_own_models(folder, SIZE_PX)
    return folder


def test_files_are_used_under_free_licences_alone(folder: Path) -> None:
    manifest = read_manifest(folder / "manifest.json")
    assert {asset.asset_id: asset.author for asset in manifest.assets} == {
        "models-cc-by-4-0_glbs-a-crate": "Ada",
        "models-cc-by-4-0_glbs-b-tin": "Bob",
        "models-cc0-1-0_glbs-b-crate": "Bob",
    }
    assert [row.asset_id for row in manifest.dropped] == ["models-cc-by-4-0_glbs-b-broken"]
    attribution = (folder / "ATTRIBUTION.md").read_text(encoding="utf-8")
    free_by, free = attribution.split("## ")[1:]
    assert "CC-BY-4.0" in free_by and "| Tin | `glbs/b/tin.glb` | Bob |" in free_by
    assert "CC0-1.0" in free and "Ball, red" in free
    assert "sold" not in attribution


def test_renders_have_the_size_that_was_asked_for(folder: Path) -> None:
    data_dir = folder / "data"
    names = [*read_split(data_dir, "train"), *read_split(data_dir, "val")]
    assert len(names) == 3 and read_split(data_dir, "val")
    assert rendered_size_px(data_dir / "renders") == SIZE_PX
    for name in names:
        rigs = load_rigs(data_dir / "renders" / f"{name}.npz")
        assert rigs.rgb.shape == (1, 40, SIZE_PX, SIZE_PX, 3)
        covered = rigs.mask[0, 0] > 127
        assert 0.6 * SIZE_PX < max(covered.any(0).sum(), covered.any(1).sum()) < 0.9 * SIZE_PX


def test_two_sizes_do_not_mix(folder: Path) -> None:
    with pytest.raises(OptionError, match="holds views of 48 px"):
        render_own_models(folder, 2 * SIZE_PX)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file,name,author\na.glb,A,B\n", "line 2"),
        ("file,name,author,licence\na.glb,A,B,CC0-1.0\nb.glb,A,,CC0-1.0\n", "line 3"),
        ("file,name,author,licence\na.blend,A,B,CC0-1.0\n", r"a\.blend"),
    ],
)
def test_what_is_not_known_of_a_file_is_asked_for(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "models.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ModelFileError, match=said):
        read_entries(path)


def test_a_missing_list_is_named(tmp_path: Path) -> None:
    with pytest.raises(ModelFileError, match=r"models\.csv"):
        read_entries(tmp_path / "models.csv")
