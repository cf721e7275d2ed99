# SPDX-License-Identifier: GPL-3.0-or-later
"""Viewpoints, camera matrices and intrinsics of the method (NumPy).

World frame: right-handed, +Z up, object at the origin. The input camera stands on world -Y::

            +Z                      from above:      +Y
             |   camera at                            |
             |  / elevation_deg                  -----+----- +X     azimuth_deg counts
             | /                                      |             counter-clockwise
             o------ -Y (azimuth 0)              camera, azimuth 0

Cameras use OpenCV axes (x right, y down, z forward) unless a name says `blender`
(x right, y up, z backward).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

CAMERA_RADIUS = 1.2
"""Distance of every camera from the object, world units (One-2-3-45, utils/utils.py)."""

NEAR_FAR = (0.5, 1.8)
"""Depth range of the cameras' frusta, world units."""

FOCAL_PER_SIDE = 280.0 / 256.0
"""Focal length over the side of a square view: a field of view of 49.13 degrees."""

_BLENDER_FROM_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])

FloatArray = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Viewpoint:
    """Where a camera stands: it looks at the origin, with +Z up in its picture."""

    name: str
    azimuth_deg: float
    """About +Z, counter-clockwise seen from above; 0 is world -Y, the input camera's side."""
    elevation_deg: float
    """Above the horizon; +90 looks straight down."""
    radius: float = CAMERA_RADIUS
    """Distance from the origin, world units."""

    @property
    def polar_deg(self) -> float:
        """Angle from +Z: 90 minus the elevation."""
        return 90.0 - self.elevation_deg


@dataclass(frozen=True, kw_only=True)
class CameraRig:
    """Cameras that share one set of intrinsics."""

    names: tuple[str, ...]
    c2w: FloatArray
    """`(V, 4, 4)` float32, camera to world, OpenCV axes."""
    K: FloatArray
    """`(3, 3)` float32, intrinsics in pixels."""
    height_px: int
    width_px: int
    near_far: tuple[float, float] = NEAR_FAR
    """World units."""

    def __post_init__(self) -> None:
        expected = (len(self.names), 4, 4)
        if self.c2w.shape != expected:
            raise ValueError(f"c2w: expected shape {expected}, got {self.c2w.shape}")
        if self.K.shape != (3, 3):
            raise ValueError(f"K: expected shape (3, 3), got {self.K.shape}")

    @property
    def w2c(self) -> FloatArray:
        """`(V, 4, 4)` float32, world to camera, OpenCV axes."""
        return np.linalg.inv(self.c2w.astype(np.float64)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class PosedImages:
    """Pictures whose cameras are known."""

    rgb: NDArray[np.uint8]
    """`(V, H, W, 3)` uint8 sRGB, the object on white."""
    cameras: CameraRig
    reference_c2w: FloatArray
    """`(4, 4)` float32, OpenCV axes: the camera whose frame the cost volume is aligned with."""

    def __post_init__(self) -> None:
        rig = self.cameras
        expected = (len(rig.names), rig.height_px, rig.width_px, 3)
        if self.rgb.shape != expected:
            raise ValueError(f"rgb: expected shape {expected}, got {self.rgb.shape}")

    def chosen(self, indices: Sequence[int]) -> PosedImages:
        """Some of the pictures, in the order of `indices`."""
        rig = self.cameras
        names = tuple(rig.names[index] for index in indices)
        cameras = replace(rig, names=names, c2w=rig.c2w[list(indices)])
        return replace(self, rgb=self.rgb[list(indices)], cameras=cameras)


def c2w_from_viewpoints(viewpoints: Sequence[Viewpoint]) -> FloatArray:
    """Camera-to-world matrices `(V, 4, 4)` float32, OpenCV axes.

    At elevation +-90 the picture's up direction is taken from the azimuth, so that the matrix is
    the limit of the neighbouring ones.
    """
    azimuth = np.radians([v.azimuth_deg for v in viewpoints])
    elevation = np.radians([v.elevation_deg for v in viewpoints])
    radius = np.array([v.radius for v in viewpoints])
    outward = np.stack(
        [
            np.sin(azimuth) * np.cos(elevation),
            -np.cos(azimuth) * np.cos(elevation),
            np.sin(elevation),
        ],
        axis=-1,
    )
    right = np.stack([np.cos(azimuth), np.sin(azimuth), np.zeros_like(azimuth)], axis=-1)
    up = np.cross(outward, right)
    c2w = np.zeros((len(viewpoints), 4, 4))
    c2w[:, :3, 0] = right
    c2w[:, :3, 1] = -up
    c2w[:, :3, 2] = -outward
    c2w[:, :3, 3] = outward * radius[:, None]
    c2w[:, 3, 3] = 1.0
    return c2w.astype(np.float32)


def swap_camera_axes(c2w: NDArray[np.floating[Any]]) -> FloatArray:
    """OpenCV camera axes to Blender's, or back: `(..., 4, 4)` float32. Its own inverse."""
    swapped: FloatArray = (c2w @ _BLENDER_FROM_OPENCV).astype(np.float32)
    return swapped


def method_intrinsics(size_px: int) -> FloatArray:
    """`(3, 3)` float32 intrinsics of the method's square views, scaled to `size_px`."""
    focal_px = FOCAL_PER_SIDE * size_px
    centre_px = size_px / 2.0
    return np.array(
        [[focal_px, 0.0, centre_px], [0.0, focal_px, centre_px], [0.0, 0.0, 1.0]], dtype=np.float32
    )


def method_rig(viewpoints: Sequence[Viewpoint], size_px: int) -> CameraRig:
    """The rig of the method's square views at the given viewpoints."""
    return CameraRig(
        names=tuple(v.name for v in viewpoints),
        c2w=c2w_from_viewpoints(viewpoints),
        K=method_intrinsics(size_px),
        height_px=size_px,
        width_px=size_px,
    )


def px_from_world(
    points: NDArray[np.floating[Any]], c2w: NDArray[np.floating[Any]], K: NDArray[np.floating[Any]]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Project world points `(N, 3)` into one camera (`c2w` `(4, 4)`, OpenCV axes).

    Returns:
        Pixel coordinates `(N, 2)` (x right, y down) and depths along the view axis `(N,)`.
    """
    w2c = np.linalg.inv(np.asarray(c2w, dtype=np.float64))
    cam = points @ w2c[:3, :3].T + w2c[:3, 3]
    homogeneous = cam @ np.asarray(K, dtype=np.float64).T
    return homogeneous[:, :2] / homogeneous[:, 2:], cam[:, 2]
