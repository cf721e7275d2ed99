# SPDX-License-Identifier: GPL-3.0-or-later
"""New datablocks stay together or not at all."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import bpy

_KINDS = ("objects", "meshes", "cameras", "materials", "images", "collections")
"""What a placed result consists of."""


@contextmanager
def all_or_nothing() -> Iterator[None]:
    """What the block adds to the file is removed again when it fails."""
    before = {kind: {data.session_uid for data in getattr(bpy.data, kind)} for kind in _KINDS}
    try:
        yield
    except BaseException:
        bpy.data.batch_remove(
            [
                data
                for kind in _KINDS
                for data in getattr(bpy.data, kind)
                if data.session_uid not in before[kind]
            ]
        )
        raise
