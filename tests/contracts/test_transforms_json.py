# SPDX-License-Identifier: GPL-3.0-or-later
"""`transforms.json`: round trip, and one clear error for each way to be wrong."""

import json

import numpy as np
import pytest

from one2345_blender.contracts.cameras import method_rig
from one2345_blender.contracts.errors import PosedImagesError
from one2345_blender.contracts.transforms_json import read_transforms, write_transforms
from one2345_blender.pipeline.view_schedule import stage1_viewpoints


@pytest.fixture
def folder(tmp_path):
    rig = method_rig(stage1_viewpoints(25.0), 64)
    names = [f"views/{name}.png" for name in rig.names]
    (tmp_path / "views").mkdir()
    for name in names:
        (tmp_path / name).write_bytes(b"picture")
    write_transforms(tmp_path, names, rig, rig.c2w[0])
    return tmp_path


def change(folder, edit):
    path = folder / "transforms.json"
    document = json.loads(path.read_text())
    edit(document)
    path.write_text(json.dumps(document))


def test_round_trip(folder):
    rig = method_rig(stage1_viewpoints(25.0), 64)
    read = read_transforms(folder)
    np.testing.assert_allclose(read.cameras.c2w, rig.c2w, atol=1e-6)
    np.testing.assert_allclose(read.cameras.K, rig.K)
    np.testing.assert_allclose(read.reference_c2w, rig.c2w[0], atol=1e-6)
    assert read.cameras.names == rig.names and read.cameras.near_far == rig.near_far
    assert [p.name for p in read.image_paths] == [f"{n}.png" for n in rig.names]


def test_without_a_reference_the_first_camera_is_it(folder):
    change(folder, lambda d: d.pop("reference_transform_matrix"))
    read = read_transforms(folder)
    np.testing.assert_array_equal(read.reference_c2w, read.cameras.c2w[0])


@pytest.mark.parametrize("key", ["w", "h", "fl_x", "cx", "frames"])
def test_a_missing_key_is_named(folder, key):
    change(folder, lambda d: d.pop(key))
    with pytest.raises(PosedImagesError, match=f"`{key}`"):
        read_transforms(folder)


@pytest.mark.parametrize(
    ("edit", "named"),
    [
        (lambda d: d["frames"][1].pop("transform_matrix"), r"frames\[1\]"),
        (lambda d: d["frames"][1].pop("file_path"), r"frames\[1\]"),
        (lambda d: d["frames"][2].update(file_path="views/none.png"), "none.png"),
        (lambda d: d["frames"][2].update(file_path="../secret.png"), "inside the folder"),
        (lambda d: d["frames"][2].update(file_path="/etc/passwd"), "inside the folder"),
        (lambda d: d["frames"][0]["transform_matrix"][0].__setitem__(0, float("nan")), "finite"),
        (lambda d: d["frames"][0]["transform_matrix"].pop(), "4 x 4"),
        (lambda d: d["frames"][0]["transform_matrix"][0].__setitem__(0, 7.0), "rotation"),
        (lambda d: d.update(fl_x=float("inf")), "fl_x"),
        (lambda d: d.update(fl_x=-3), "focal lengths"),
        (lambda d: d.update(w=1e9), "`w`"),
        (lambda d: d.update(frames=d["frames"][:1]), "`frames`"),
        (lambda d: d.update(near_far=[2, 1]), "near_far"),
    ],
)
def test_wrong_values_are_named(folder, edit, named):
    change(folder, edit)
    with pytest.raises(PosedImagesError, match=named) as caught:
        read_transforms(folder)
    assert caught.value.hint


@pytest.mark.parametrize("content", [b"", b"not json", b"[]", b"\xff\xfe", b"[" * 100_000])
def test_a_file_that_is_no_json_object(folder, content):
    (folder / "transforms.json").write_bytes(content)
    with pytest.raises(PosedImagesError):
        read_transforms(folder)


def test_a_folder_without_the_file(tmp_path):
    with pytest.raises(PosedImagesError, match=r"transforms\.json"):
        read_transforms(tmp_path)
