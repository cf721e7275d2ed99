# SPDX-License-Identifier: GPL-3.0-or-later
"""Blender's door to the extension. Importing it imports nothing, so that tests can collect here."""


def register() -> None:
    """Called by Blender when the extension is enabled."""
    from .one2345_blender import addon

    addon.register()


def unregister() -> None:
    """Called by Blender when the extension is disabled."""
    from .one2345_blender import addon

    addon.unregister()
