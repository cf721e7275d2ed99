# SPDX-License-Identifier: GPL-3.0-or-later
"""The name under which Blender knows this extension: that of the package that holds the rooms."""

from __future__ import annotations

ROOT_PACKAGE = (__package__ or "").removesuffix(".one2345_blender.addon")
"""`bl_ext.<repository>.one2345` in Blender. Preferences and `extension_path_user` want this name
and refuse longer ones."""


def is_extension() -> bool:
    """True when Blender loaded the add-on as an installed extension, not a script from source."""
    return ROOT_PACKAGE.startswith("bl_ext.")
