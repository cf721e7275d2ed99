# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reconstruction network knows about one object, ready to be asked point by point."""

from dataclasses import dataclass

from torch import Tensor

from .frame import VolumeFrame


@dataclass(frozen=True, kw_only=True)
class GeometryVolume:
    """The encoded object. Points given to it are in volume coordinates, the cube [-1,1]^3."""

    features: Tensor
    """(C,X,Y,Z) float32, zero where not valid."""
    valid: Tensor
    """(X,Y,Z) bool: seen by enough views."""
    frame: VolumeFrame
    view_features: Tensor
    """(V,3+56,H,W) float32: raw colours (sRGB 0..1), then fused image features."""
