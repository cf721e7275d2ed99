# SPDX-License-Identifier: GPL-3.0-or-later
"""A coarse coloured volume lifted from the photo alone: the small Zero123's first guess."""
