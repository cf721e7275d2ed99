# SPDX-License-Identifier: GPL-3.0-or-later
"""One-2-3-45 for Blender: one picture becomes a coloured mesh.

Importing this package imports nothing; docs/architecture.md shows its rooms.
"""
