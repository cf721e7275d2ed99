# SPDX-License-Identifier: GPL-3.0-or-later
"""A folder inside a zip archive: the files and textures that a model refers to."""

from __future__ import annotations

import io
import posixpath
from zipfile import ZipFile

import numpy as np
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError

MAX_TEXTURE_SIDE_PX = 512


class ArchiveFolder:
    """A folder of the archive whose files are found whatever their case, textures read once."""

    def __init__(self, archive: ZipFile, path: str) -> None:
        self._archive = archive
        self._path = path
        self._members = {member.lower(): member for member in archive.namelist()}
        self._textures: dict[str, NDArray[np.uint8] | None] = {}

    def read(self, name: str) -> bytes | None:
        """The bytes of a file named relative to the folder, or None where there is no such file."""
        relative = name.strip('"').replace("\\", "/")
        for candidate in (relative, posixpath.basename(relative)):
            path = posixpath.normpath(posixpath.join(self._path, candidate)).lower()
            if path in self._members:
                return self._archive.read(self._members[path])
        return None

    def texture(self, name: str) -> NDArray[np.uint8] | None:
        """`(H, W, 4)` uint8 at most 512 px wide; None where it is missing or no picture."""
        if name not in self._textures:
            data = self.read(name)
            self._textures[name] = None if data is None else decode_texture(data)
        return self._textures[name]


def decode_texture(data: bytes) -> NDArray[np.uint8] | None:
    """`(H, W, 4)` uint8 at most 512 px wide; None if it is no picture."""
    try:
        file = Image.open(io.BytesIO(data))
        file.draft("RGB", (MAX_TEXTURE_SIDE_PX, MAX_TEXTURE_SIDE_PX))
        image = file.convert("RGBA")
    except (UnidentifiedImageError, OSError):
        return None
    image.thumbnail((MAX_TEXTURE_SIDE_PX, MAX_TEXTURE_SIDE_PX), Image.Resampling.BILINEAR)
    return np.asarray(image)
