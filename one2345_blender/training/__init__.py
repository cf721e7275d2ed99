# SPDX-License-Identifier: GPL-3.0-or-later
"""How the embedded preset's weights are made: data, training runs, export."""
