# SPDX-License-Identifier: GPL-3.0-or-later
"""What the documents show is true: links lead somewhere, the example file reads, commands exist."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from one2345_blender.contracts.cameras import Viewpoint, c2w_from_viewpoints
from one2345_blender.contracts.job_folder import TRANSFORMS_JSON
from one2345_blender.contracts.transforms_json import read_transforms

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_relative_links_lead_somewhere(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    targets = re.findall(r"\]\((?!https?://|#)([^)#]+)", text)
    assert [t for t in targets if not (document.parent / t).exists()] == []


def test_conventions_show_a_complete_transforms_json(tmp_path: Path) -> None:
    text = (ROOT / "docs" / "conventions.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"```json\n(.*?)```", text, re.DOTALL)
    (tmp_path / TRANSFORMS_JSON).write_text(example)
    (tmp_path / "views").mkdir()
    for name in ("front", "right"):
        (tmp_path / "views" / f"{name}.png").touch()
    read = read_transforms(tmp_path)
    viewpoints = [
        Viewpoint(name=name, azimuth_deg=azimuth, elevation_deg=0.0)
        for name, azimuth in (("front", 0.0), ("right", 90.0))
    ]
    np.testing.assert_allclose(read.cameras.c2w, c2w_from_viewpoints(viewpoints), atol=1e-6)
    np.testing.assert_allclose(read.reference_c2w, read.cameras.c2w[0], atol=1e-6)


def test_every_fault_in_the_table_names_tests_that_exist() -> None:
    text = (ROOT / "docs" / "robustness.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (?!what |---).*$", text, re.MULTILINE)
    for row in rows:
        named = re.findall(r"((?:`[\w/]+\.py`(?:, )?)+): ((?:`\w+`(?:, )?)+)", row)
        assert named, row
        for paths, names in named:
            sources = [
                (ROOT / "tests" / path).read_text(encoding="utf-8")
                for path in re.findall(r"[\w/]+\.py", paths)
            ]
            for name in re.findall(r"\w+", names):
                assert all(f"def {name}(" in source for source in sources), name
    tables = text.split("\n## ")[1:3]
    faults, inputs = (
        len(re.findall(r"^\| (?!what |---)", table, re.MULTILINE)) for table in tables
    )
    assert f"{faults} faults and {inputs} kinds of hostile input" in text


def test_readme_names_make_targets_that_exist() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = set(re.findall(r"^([a-z0-9-]+):", makefile, re.MULTILINE))
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    named = set(re.findall(r"(?:^|`)make ([a-z0-9-]+)", readme, re.MULTILINE))
    assert {"demo", "test"} <= named <= targets
