# SPDX-License-Identifier: GPL-3.0-or-later
"""Zero123: one posed picture from another, by view-conditioned latent diffusion."""
