# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts the worker process and listens to it: standard library only, no bpy, no torch."""
