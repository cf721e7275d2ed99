# SPDX-License-Identifier: GPL-3.0-or-later
"""Which views the method asks for: 8 around the object, then 4 near views of each (section 3.1).

Offsets are Zero123's: a positive `d_polar_deg` moves the camera *down*, a positive
`d_azimuth_deg` counter-clockwise seen from above.
"""

from __future__ import annotations

from dataclasses import dataclass

from ..contracts.cameras import Viewpoint

NUM_STAGE1_VIEWS = 8
NUM_LEVEL_VIEWS = 4
NUM_NEAR_VIEWS = 4
TILT_DEG = 30.0
NEAR_DEG = 10.0
TILT_DOWN_FROM_ELEVATION_DEG = 15.0
"""From this elevation on, the second four views look from below the input's (One-2-3-45, run.py:41:
polar angles up to 75 degrees), otherwise from above."""


@dataclass(frozen=True)
class PoseOffset:
    """The camera of the wanted view relative to the condition's."""

    d_polar_deg: float
    d_azimuth_deg: float

    def __add__(self, other: PoseOffset) -> PoseOffset:
        """This offset, then the other."""
        return PoseOffset(
            self.d_polar_deg + other.d_polar_deg, self.d_azimuth_deg + other.d_azimuth_deg
        )


INPUT_OFFSET = PoseOffset(0.0, 0.0)
LEVEL_OFFSETS = tuple(PoseOffset(0.0, 90.0 * i) for i in range(NUM_LEVEL_VIEWS))
"""Stage 1a, relative to the input: around it at its own elevation."""

NEAR_OFFSETS = (
    PoseOffset(-NEAR_DEG, 0.0),
    PoseOffset(+NEAR_DEG, 0.0),
    PoseOffset(0.0, -NEAR_DEG),
    PoseOffset(0.0, +NEAR_DEG),
)
"""Stage 2, relative to each stage-1 view."""


def tilted_offsets(elevation_deg: float) -> tuple[PoseOffset, ...]:
    """Stage 1b, relative to the input: four more views, half-way between the level ones.

    Args:
        elevation_deg: The input camera's elevation.
    """
    d_polar_deg = TILT_DEG if elevation_deg >= TILT_DOWN_FROM_ELEVATION_DEG else -TILT_DEG
    return tuple(PoseOffset(d_polar_deg, TILT_DEG + 90.0 * i) for i in range(NUM_LEVEL_VIEWS))


def stage1_viewpoints(elevation_deg: float) -> list[Viewpoint]:
    """The 8 views of stage 1, the re-synthesised input first."""
    offsets = (*LEVEL_OFFSETS, *tilted_offsets(elevation_deg))
    return [
        Viewpoint(
            name=str(index),
            azimuth_deg=offset.d_azimuth_deg,
            elevation_deg=elevation_deg - offset.d_polar_deg,
        )
        for index, offset in enumerate(offsets)
    ]


def near_viewpoints(of: Viewpoint) -> list[Viewpoint]:
    """The 4 near views of a stage-1 view, in the order of `NEAR_OFFSETS`."""
    return [
        Viewpoint(
            name=f"{of.name}_{index}",
            azimuth_deg=of.azimuth_deg + offset.d_azimuth_deg,
            elevation_deg=of.elevation_deg - offset.d_polar_deg,
        )
        for index, offset in enumerate(NEAR_OFFSETS)
    ]


def method_viewpoints(elevation_deg: float) -> list[Viewpoint]:
    """All 40: the 8 of stage 1, then their near views, view by view."""
    stage1 = stage1_viewpoints(elevation_deg)
    return stage1 + [near for view in stage1 for near in near_viewpoints(view)]
