# SPDX-License-Identifier: GPL-3.0-or-later
"""The version of the package; a test keeps it equal to the manifest's and the project's."""

__version__ = "0.1.0"
