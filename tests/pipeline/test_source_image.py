# SPDX-License-Identifier: GPL-3.0-or-later
"""Pictures of every kind are read; everything else is refused with a reason and a remedy."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from one2345_blender.contracts.errors import InputImageError
from one2345_blender.pipeline.source_image import read_source_image

HEIGHT_PX, WIDTH_PX = 24, 40


@pytest.fixture
def rgb() -> np.ndarray:
    """Left half red, right half grey, top-left quarter blue."""
    picture = np.full((HEIGHT_PX, WIDTH_PX, 3), 120, np.uint8)
    picture[:, : WIDTH_PX // 2] = (200, 30, 20)
    picture[: HEIGHT_PX // 2, : WIDTH_PX // 2] = (20, 40, 210)
    return picture


@pytest.fixture
def rgba(rgb: np.ndarray) -> np.ndarray:
    alpha = np.zeros((HEIGHT_PX, WIDTH_PX), np.uint8)
    alpha[4:20, 8:30] = 255
    alpha[4] = 128
    return np.dstack([rgb, alpha])


@pytest.mark.parametrize("name", ["photo.png", "two words.png", "Äpfel-写真.png", "no_suffix"])
def test_png_is_read_unchanged_from_any_path(tmp_path: Path, rgb: np.ndarray, name: str) -> None:
    Image.fromarray(rgb).save(tmp_path / name, format="PNG")
    np.testing.assert_array_equal(read_source_image(tmp_path / name), rgb)


@pytest.mark.parametrize("file_format", ["JPEG", "WEBP", "TIFF", "BMP", "AVIF"])
def test_common_formats_are_read(tmp_path: Path, rgb: np.ndarray, file_format: str) -> None:
    Image.fromarray(rgb).save(tmp_path / "photo", format=file_format, quality=95)
    difference = read_source_image(tmp_path / "photo").astype(int) - rgb
    assert np.abs(difference).mean() < 6


def test_alpha_is_kept(tmp_path: Path, rgba: np.ndarray) -> None:
    Image.fromarray(rgba).save(tmp_path / "cut.png")
    np.testing.assert_array_equal(read_source_image(tmp_path / "cut.png"), rgba)


def test_opaque_alpha_counts_as_none(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).convert("RGBA").save(tmp_path / "opaque.png")
    np.testing.assert_array_equal(read_source_image(tmp_path / "opaque.png"), rgb)


def test_grey_with_alpha(tmp_path: Path, rgba: np.ndarray) -> None:
    Image.fromarray(rgba).convert("LA").save(tmp_path / "la.png")
    read = read_source_image(tmp_path / "la.png")
    np.testing.assert_array_equal(read[..., 3], rgba[..., 3])
    np.testing.assert_array_equal(read[..., 0], read[..., 2])


def test_palette_with_transparent_entry(tmp_path: Path, rgb: np.ndarray) -> None:
    palette = Image.fromarray(rgb).convert("P", palette=Image.Palette.ADAPTIVE, colors=4)
    grey_entry = int(np.asarray(palette)[-1, -1])
    palette.save(tmp_path / "palette.png", transparency=grey_entry)
    read = read_source_image(tmp_path / "palette.png")
    assert (read[:, : WIDTH_PX // 2, 3] == 255).all()
    assert (read[:, WIDTH_PX // 2 :, 3] == 0).all()


def test_bilevel_and_grey(tmp_path: Path, rgb: np.ndarray) -> None:
    for mode in ("1", "L"):
        Image.fromarray(rgb).convert(mode).save(tmp_path / f"{mode}.png")
        assert read_source_image(tmp_path / f"{mode}.png").shape == rgb.shape


def test_cmyk_jpeg(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb).convert("CMYK").save(tmp_path / "print.jpg", quality=95)
    assert np.abs(read_source_image(tmp_path / "print.jpg").astype(int) - rgb).mean() < 6


@pytest.mark.parametrize("suffix", ["png", "tif"])
def test_sixteen_bit_grey_is_scaled_not_clipped(tmp_path: Path, suffix: str) -> None:
    ramp = np.linspace(0, 65535, HEIGHT_PX * WIDTH_PX).astype(np.uint16)
    Image.fromarray(ramp.reshape(HEIGHT_PX, WIDTH_PX)).save(tmp_path / f"deep.{suffix}")
    grey = read_source_image(tmp_path / f"deep.{suffix}")[..., 1].ravel()
    np.testing.assert_allclose(grey, ramp / 257, atol=0.51)


def test_sixteen_bit_rgb_png(tmp_path: Path, rgb: np.ndarray) -> None:
    _write_png(tmp_path / "deep.png", rgb.astype(">u2") * 257, bit_depth=16, colour_type=2)
    np.testing.assert_array_equal(read_source_image(tmp_path / "deep.png"), rgb)


def test_exif_rotation_is_applied(tmp_path: Path, rgb: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side; turn clockwise to see it upright
    Image.fromarray(np.rot90(rgb)).save(tmp_path / "phone.png", exif=exif)
    np.testing.assert_array_equal(read_source_image(tmp_path / "phone.png"), rgb)


def test_missing_file(tmp_path: Path) -> None:
    _assert_refused(tmp_path / "gone.png", "no file")


def test_folder(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    _assert_refused(tmp_path / "folder.png", "is a folder")


def test_text_file(tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("not a picture", encoding="utf-8")
    _assert_refused(tmp_path / "text.png", "not a picture")


def test_empty_file(tmp_path: Path) -> None:
    (tmp_path / "empty.png").touch()
    _assert_refused(tmp_path / "empty.png", "not a picture")


@pytest.mark.parametrize("file_format", ["PNG", "JPEG", "WEBP", "TIFF"])
def test_truncated_file(tmp_path: Path, file_format: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "half", format=file_format)
    content = (tmp_path / "half").read_bytes()
    (tmp_path / "half").write_bytes(content[: len(content) // 2])
    _assert_refused(tmp_path / "half", "truncated or damaged|not a picture")


def test_one_pixel(tmp_path: Path, rgb: np.ndarray) -> None:
    Image.fromarray(rgb[:1, :1]).save(tmp_path / "dot.png")
    _assert_refused(tmp_path / "dot.png", "1 x 1")


@pytest.mark.parametrize("side_px", [12_000, 30_000])
def test_huge_picture_is_refused_from_its_header(tmp_path: Path, side_px: int) -> None:
    _write_png(
        tmp_path / "huge.png",
        np.zeros((1, 3), np.uint8),
        bit_depth=8,
        colour_type=2,
        claimed_size=(side_px, side_px),
    )
    _assert_refused(tmp_path / "huge.png", "120 million pixels")


def test_floating_point_pixels(tmp_path: Path) -> None:
    Image.fromarray(np.full((HEIGHT_PX, WIDTH_PX), 0.5, np.float32)).save(tmp_path / "f.tif")
    _assert_refused(tmp_path / "f.tif", "floating-point")


def test_wide_integers(tmp_path: Path) -> None:
    Image.fromarray(np.full((HEIGHT_PX, WIDTH_PX), 70_000, np.int32)).save(tmp_path / "i.tif")
    _assert_refused(tmp_path / "i.tif", "32-bit")


def _assert_refused(path: Path, message_part: str) -> None:
    with pytest.raises(InputImageError, match=message_part) as caught:
        read_source_image(path)
    assert str(path) in caught.value.message
    assert caught.value.hint


def _write_png(
    path: Path,
    pixels: np.ndarray,
    *,
    bit_depth: int,
    colour_type: int,
    claimed_size: tuple[int, int] | None = None,
) -> None:
    """Write what Pillow cannot: 16-bit RGB, or a header that promises more than follows."""
    width, height = claimed_size or (pixels.shape[1], pixels.shape[0])
    header = struct.pack(">IIBBBBB", width, height, bit_depth, colour_type, 0, 0, 0)
    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + _chunk(b"IHDR", header)
        + _chunk(b"IDAT", zlib.compress(rows))
        + _chunk(b"IEND", b"")
    )


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
