# SPDX-License-Identifier: GPL-3.0-or-later
"""The method itself: pictures in, mesh out. Knows neither Blender nor the wire."""
