# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads a user's picture of nearly any kind into 8-bit sRGB, in bounded memory."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from ..contracts.errors import InputImageError

FORMATS = ("PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "AVIF")
MIN_SIDE_PX = 16
MAX_PIXELS = 120_000_000
"""A 108-megapixel phone photo passes; decoded to RGBA this is at most 480 MB."""

_CONVERTIBLE_HINT = "Open the picture in an image editor and save it as PNG or JPEG."


def read_source_image(path: Path) -> NDArray[np.uint8]:
    """Read a picture, upright as its EXIF orientation says.

    Colour profiles are not applied. Of an animation the first frame is read.

    Args:
        path: A file in one of `FORMATS`, recognised by content, not by its name.

    Returns:
        `(H, W, 4)` sRGB + alpha if some pixel is not opaque, else `(H, W, 3)` sRGB.

    Raises:
        InputImageError: If the file is missing, is no complete picture, or is of a size out of
            `MIN_SIDE_PX` (each side) and `MAX_PIXELS` (checked before decoding).
    """
    path = Path(path)
    if path.is_dir():
        raise InputImageError(
            f"Expected a picture file, but {path} is a folder.",
            hint="Choose a picture inside that folder.",
        )
    if not path.exists():
        raise InputImageError(f"There is no file {path}.", hint="Check the path and its spelling.")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # MAX_PIXELS is the limit
        try:
            with Image.open(path, formats=FORMATS) as image:
                _check_size(path, image.width, image.height)
                image.load()
                return _eight_bit_array(path, ImageOps.exif_transpose(image))
        except (InputImageError, MemoryError):
            raise
        except Image.DecompressionBombError as error:
            raise _too_large(path, f"the picture is far larger ({error})") from error
        except Image.UnidentifiedImageError as error:
            raise InputImageError(
                f"{path} is not a picture in a known format ({', '.join(FORMATS)}).",
                hint=_CONVERTIBLE_HINT,
            ) from error
        except Exception as error:  # decoders raise anything on damaged files
            raise InputImageError(
                f"{path} cannot be decoded; it is truncated or damaged ({error}).",
                hint="Copy or download the file again, or choose another picture.",
            ) from error


def _check_size(path: Path, width: int, height: int) -> None:
    if min(width, height) < MIN_SIDE_PX:
        raise InputImageError(
            f"Each side needs at least {MIN_SIDE_PX} pixels, but {path} is {width} x {height}.",
            hint="Choose a picture in which the object can be seen, 256 pixels wide or more.",
        )
    if width * height > MAX_PIXELS:
        raise _too_large(path, f"the picture is {width} x {height}")


def _too_large(path: Path, what_came: str) -> InputImageError:
    return InputImageError(
        f"{path} may have at most {MAX_PIXELS // 1_000_000} million pixels, but {what_came}.",
        hint="Scale the picture down; 1024 pixels on the longer side are plenty.",
    )


def _eight_bit_array(path: Path, image: Image.Image) -> NDArray[np.uint8]:
    if image.mode == "F":
        raise InputImageError(
            f"{path} holds floating-point pixels, whose range is not defined.",
            hint=_CONVERTIBLE_HINT,
        )
    if image.mode.startswith("I"):
        image = Image.fromarray(_eight_bit_grey(path, np.asarray(image)))
    if not image.has_transparency_data:
        return np.asarray(image.convert("RGB"))
    rgba = np.asarray(image.convert("RGBA"))
    is_opaque = bool((rgba[..., 3] == 255).all())
    return np.ascontiguousarray(rgba[..., :3]) if is_opaque else rgba


def _eight_bit_grey(path: Path, grey: NDArray[np.integer]) -> NDArray[np.uint8]:
    """Scale 16-bit grey (Pillow's modes `I;16*`, or `I`) so that 65535 becomes 255."""
    if grey.min() < 0 or grey.max() > 65535:
        raise InputImageError(
            f"{path} holds 32-bit grey values from {grey.min()} to {grey.max()}; "
            "0 to 65535 was expected.",
            hint=_CONVERTIBLE_HINT,
        )
    return np.round(grey.astype(np.float32) * (255 / 65535)).astype(np.uint8)
