# SPDX-License-Identifier: GPL-3.0-or-later
"""The language that all rooms share: NumPy and the standard library only, imports no other room."""
