# SPDX-License-Identifier: GPL-3.0-or-later
"""Readers of the 3D models that the training views are rendered from."""
