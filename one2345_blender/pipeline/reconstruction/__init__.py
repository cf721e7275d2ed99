# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed images -> geometry volume -> signed distance and colour."""
