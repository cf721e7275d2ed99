# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures made to harm: bombs in every corner of a PNG, headers that lie, bytes at random."""

from __future__ import annotations

import io
import resource
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from damage import fuzzed, write_anew
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from one2345_blender.contracts.errors import InputImageError
from one2345_blender.pipeline.source_image import FORMATS, read_source_image

BOMB = zlib.compress(bytes(100_000_000))
"""A hundred megabytes in a hundred kilobytes."""
HEADER = struct.pack(">IIBBBBB", 32, 32, 8, 2, 0, 0, 0)
PIXELS = zlib.compress((b"\0" + bytes(96)) * 32)


def png(*chunks: tuple[bytes, bytes]) -> bytes:
    content = b"\x89PNG\r\n\x1a\n"
    for name, data in chunks:
        check = struct.pack(">I", zlib.crc32(name + data))
        content += struct.pack(">I", len(data)) + name + data + check
    return content


def peak_bytes() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@pytest.mark.parametrize(
    "chunks",
    [
        [(b"iCCP", b"profile\0\0" + BOMB)],
        [(b"zTXt", b"comment\0\0" + BOMB)],
        [(b"iTXt", b"comment\0\1\0\0\0" + BOMB)],
        [(b"zTXt", b"comment\0\0" + BOMB)] * 50,
        [(b"eXIf", b"II*\0" + struct.pack("<IH", 8, 65535) + b"\xff" * 12)],
    ],
    ids=["profile", "text", "international text", "many texts", "exif"],
)
def test_a_bomb_beside_the_pixels_is_not_unpacked(
    tmp_path: Path, chunks: list[tuple[bytes, bytes]]
) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png((b"IHDR", HEADER), *chunks, (b"IDAT", PIXELS), (b"IEND", b"")))
    before = peak_bytes()
    try:
        assert read_source_image(path).shape == (32, 32, 3)
    except InputImageError as error:
        assert error.hint
    assert peak_bytes() - before < 80_000_000


def test_more_pixels_than_the_header_says_are_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(png((b"IHDR", HEADER), (b"IDAT", BOMB), (b"IEND", b"")))
    before = peak_bytes()
    assert read_source_image(path).shape == (32, 32, 3)
    assert peak_bytes() - before < 80_000_000


def encoded(file_format: str) -> bytes:
    stream = io.BytesIO()
    rgb = np.arange(32 * 32 * 3, dtype=np.uint8).reshape(32, 32, 3)
    Image.fromarray(rgb).save(stream, file_format)
    return stream.getvalue()


EXAMPLES = {name: encoded(name) for name in FORMATS}


@fuzzed
@given(st.data())
def test_damaged_pictures(tmp_path: Path, data: st.DataObject) -> None:
    content = bytearray(EXAMPLES[data.draw(st.sampled_from(FORMATS))])
    for _ in range(data.draw(st.integers(0, 8))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    picture = tmp_path / "picture"
    write_anew(picture, content[: data.draw(st.integers(1, len(content)))])
    try:
        image = read_source_image(picture)
        assert image.dtype == np.uint8 and image.shape[2] in (3, 4)
    except InputImageError as error:
        assert error.message and error.hint
