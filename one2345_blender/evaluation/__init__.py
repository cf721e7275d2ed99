# SPDX-License-Identifier: GPL-3.0-or-later
"""Numbers about the pipeline: parity with the original, quality of its meshes."""
