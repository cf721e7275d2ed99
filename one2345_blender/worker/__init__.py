# SPDX-License-Identifier: GPL-3.0-or-later
"""The separate process that runs the pipeline for Blender: `python -m one2345_blender.worker`."""
