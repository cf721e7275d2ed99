# SPDX-License-Identifier: GPL-3.0-or-later
"""Background pictures: their rights, their split, and what is left out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
from PIL import Image

from one2345_blender.training import backgrounds
from one2345_blender.training.backgrounds import LICENCES, Background, collect_backgrounds
from one2345_blender.training.debian_copyright import CopyrightFile, Rights

MANIFEST = (
    Path(__file__).parents[2] / "one2345_blender/pipeline/presets/embedded/data/backgrounds.json"
)
COPYRIGHT = """\
Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/

Files: *
Copyright: 2008, A Painter
           2009, A Photographer
License: GPL-2+

Files:
 mate/nature/Closed.jpg
 nature/Closed.jpg
Copyright: Somebody
License: CC-BY-NC-4.0
 No sale.

License: GPL-2+
 The text of the licence.
"""


def test_last_matching_paragraph_counts() -> None:
    file = CopyrightFile(COPYRIGHT)
    painter = Rights(licence="GPL-2+", copyright="2008, A Painter; 2009, A Photographer")
    assert file.rights("nature/Aqua.jpg") == painter
    assert file.rights("nature/Closed.jpg") == Rights(licence="CC-BY-NC-4.0", copyright="Somebody")


def test_no_paragraph_no_rights() -> None:
    assert CopyrightFile("Files: debian/*\nLicense: Expat\n").rights("nature/Aqua.jpg") is None


def test_split_follows_from_the_name_alone() -> None:
    rights = Rights(licence="CC0-1.0", copyright="")
    pictures = [np.zeros((1, 1, 3), np.uint8), np.ones((9, 9, 3), np.uint8)]
    names = [f"package/{i}.jpg" for i in range(400)]
    splits = [
        [Background(name=n, kind="scene", rights=rights, rgb=rgb).is_validation for n in names]
        for rgb in pictures
    ]
    assert splits[0] == splits[1]
    assert 0.03 < np.mean(splits[0]) < 0.15


def test_only_free_whole_pictures_are_collected(tmp_path: Path, monkeypatch) -> None:
    package = next(p for p in backgrounds.PACKAGES if p.name == "mate-backgrounds")
    monkeypatch.setattr(backgrounds, "PACKAGES", (package,))
    nature = tmp_path / "mate-backgrounds/usr/share/backgrounds/mate/nature"
    nature.mkdir(parents=True)
    for name, size in {"Aqua.jpg": (900, 600), "Closed.jpg": (90, 90), "Dot.jpg": (9, 9)}.items():
        Image.new("RGB", size, (10, 90, 200)).save(nature / name)
    documents = tmp_path / "mate-backgrounds/usr/share/doc/mate-backgrounds"
    documents.mkdir(parents=True)
    (documents / "copyright").write_text(COPYRIGHT, encoding="utf-8")

    collected = collect_backgrounds(tmp_path, tmp_path / "backgrounds.json")
    scenes = [b for b in collected if b.kind == "scene"]
    assert [b.name for b in scenes] == ["mate-backgrounds/nature/Aqua.jpg"]
    assert scenes[0].rgb.shape == (341, 512, 3)
    written = json.loads((tmp_path / "backgrounds.json").read_text(encoding="utf-8"))
    assert sum(len(row["pictures"]) for row in written) == len(collected)


def test_manifest_names_rights_of_every_picture_and_not_the_demo_photo() -> None:
    rows = json.loads(MANIFEST.read_text(encoding="utf-8"))
    names = [name for row in rows for name in row["pictures"]]
    assert len(names) == len(set(names)) > 200
    assert all(row["licence"] in LICENCES and row["copyright"] for row in rows)
    assert not any("coffee" in name for name in names)
