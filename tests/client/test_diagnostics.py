# SPDX-License-Identifier: GPL-3.0-or-later
"""What may be posted in public, and what folders weigh."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from one2345_blender.client.diagnostics import diagnostic_report, without_private_paths
from one2345_blender.client.disk_usage import FolderSizes, folder_size_bytes

ROOTS = {"/home/alice": "~", "/home/alice/.config/blender/one2345": "<extension>", "/": "never"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see /home/alice/.config/blender/one2345/a.py", "see <extension>/a.py"),
        ("see /home/alice/.config/blender/one2345: full", "see <extension>: full"),
        ("see /home/alice/notes.txt, please", "see ~/<path>"),
        ("/home/alice/Clients/ACME/env/bin/python", "~/<path>"),
        ("in ~/Clients", "in ~/<path>"),
        ("home is '/home/alice'", "home is '~'"),
        ("/home/alice smith/ACME", "<path>"),
        ("/home/alice2/ACME", "<path>"),
        ("open '/media/bob/secret/cup.png': denied", "open '<path>': denied"),
        ('File "/srv/render farm.py", line 3', 'File "<path>", line 3'),
        ("/mnt/Client Projects/ACME merger/w", "<path>"),
        ("at //server/share/ACME merger", "at <path>"),
        (r"at \\server\share\ACME merger", "at <path>"),
        (r"in C:\Users\bob\ACME merger\cup.png: gone", "in <path>"),
        (r"'C:\\Users\\bob\\cup.png' is gone", "'<path>' is gone"),
        ("at D:/ACME merger", "at <path>"),
        ("file:///mnt/ACME merger", "file:<path>"),
        ("first /mnt/ACME merger/w\nsecond", "first <path>\nsecond"),
        ("8/10 steps, and/or 24 km/h", "8/10 steps, and/or 24 km/h"),
        ("see https://example.org/a/b c", "see https://example.org/a/b c"),
        ("torch 2.13.0+cpu", "torch 2.13.0+cpu"),
    ],
)
def test_private_paths_are_hidden_and_nothing_else(text: str, expected: str) -> None:
    assert without_private_paths(text, ROOTS) == expected


PRIVATE_NAMES = st.text(
    st.characters(exclude_characters="/\\\n", exclude_categories=["Cc", "Cs", "Zl", "Zp"]),
    max_size=6,
).map(lambda text: f"{text}SECRET{text}")
BEGINNINGS = ["/mnt/", "/home/alice/", "//server/", "C:/", "\\\\server\\", "C:\\", "D:\\"]
SENTENCES = [
    "see {}",
    "{}: permission denied",
    "Expected a folder, but {}, which is none, came.",
    'File "{}", line 3, in f',
    "[Errno 2] No such file: '{}'",
    "({})",
    "--target={}",
]


@given(
    st.sampled_from(BEGINNINGS),
    st.lists(PRIVATE_NAMES, min_size=1, max_size=4),
    st.sampled_from(SENTENCES),
)
def test_nothing_of_a_private_path_is_told(beginning: str, names: list[str], sentence: str) -> None:
    separator = beginning[-1]
    path = beginning + separator.join(names).lstrip()
    assert "SECRET" not in without_private_paths(sentence.format(path), ROOTS)


def test_a_known_photo_is_hidden_even_with_spaces_in_its_name() -> None:
    roots = {"/media/bob/my client/new cup.png": "<photo>", "new cup.png": "<photo>"}
    text = "/media/bob/my client/new cup.png: no object in new cup.png"
    assert without_private_paths(text, roots) == "<photo>: no object in <photo>"


def test_a_report_has_its_sections_in_order() -> None:
    sections = {"A": {"x": "1", "y": "two\nlines"}, "B": {"z": "/home/alice/z"}}
    assert diagnostic_report(sections, ROOTS).splitlines() == [
        "A",
        "  x: 1",
        "  y: two",
        "    lines",
        "B",
        "  z: ~/<path>",
    ]


def test_a_folder_weighs_what_its_files_weigh_links_not_followed(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    (folder / "deep").mkdir(parents=True)
    (folder / "a").write_bytes(b"x" * 1000)
    (folder / "deep" / "b").write_bytes(b"x" * 500)
    (tmp_path / "elsewhere").write_bytes(b"x" * 10_000)
    (folder / "link").symlink_to(tmp_path / "elsewhere")
    assert folder_size_bytes(folder) - (folder / "link").lstat().st_size == 1500
    assert folder_size_bytes(tmp_path / "missing") == 0


def test_sizes_come_later_and_are_measured_again_when_forgotten(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x" * 1000)
    sizes = FolderSizes()
    assert _measured(sizes, tmp_path) == 1000
    (tmp_path / "b").write_bytes(b"x")
    assert sizes.size_bytes(tmp_path) == 1000
    sizes.forget()
    assert _measured(sizes, tmp_path) == 1001


def _measured(sizes: FolderSizes, folder: Path) -> int:
    deadline_s = time.monotonic() + 30.0
    while (size := sizes.size_bytes(folder)) is None:
        assert time.monotonic() < deadline_s
        time.sleep(0.01)
    return size
