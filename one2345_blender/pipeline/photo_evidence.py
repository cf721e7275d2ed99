# SPDX-License-Identifier: GPL-3.0-or-later
"""What the photo itself says about the mesh, beside the views that were made from it."""

from __future__ import annotations

from dataclasses import dataclass

from .lifting.radiance import RadianceGrid
from .photo_colors import PhotoColors
from .silhouette import Silhouette


@dataclass(frozen=True, kw_only=True)
class PhotoEvidence:
    """Each part is None where it is not used: the original uses none of them."""

    guess: RadianceGrid | None = None
    """The object lifted from the photo, for a reconstruction network that takes a guess."""
    silhouette: Silhouette | None = None
    """Nothing of the mesh lies outside this outline."""
    fills_silhouette: bool = False
    """Whether every ray inside it meets the mesh too."""
    colors: PhotoColors | None = None
    """The surface that the photo shows has its colours."""


NO_EVIDENCE = PhotoEvidence()
