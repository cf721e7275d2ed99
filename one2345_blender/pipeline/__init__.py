# SPDX-License-Identifier: GPL-3.0-or-later
"""The method itself: pictures in, mesh out. Knows neither Blender nor the wire."""

import os

os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
# Read when torch is loaded, hence here. Threads that wait by spinning would take the cores from
# Blender, and from each other: a conversion beside other work then takes many times as long.
