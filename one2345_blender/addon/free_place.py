# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the next object stands: in a row along +X, beside those that stand there already."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

ROW_SPACING = 1.5
"""World units of the method between the objects of one row, whose diameters are 1.24 at most."""
_TOLERANCE = 1e-3
Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Taken:
    """The place of an object, or one that is kept for it."""

    ground_point: Point
    scale: float
    """Blender units per world unit of the method."""


def point_in_row(first: Sequence[float], place_in_row: int, *, scale: float = 1.0) -> Point:
    """Where the object with that number stands in a row along +X that begins at `first`."""
    x, y, z = first
    return (x + place_in_row * ROW_SPACING * scale, y, z)


def free_point(
    first: Sequence[float], taken: Iterable[Taken], *, scale: float, place_in_row: int = 0
) -> Point:
    """The first place of the row, from `place_in_row` on, that is as far from all others as the
    places of a row are from each other."""
    others = list(taken)
    points = (point_in_row(first, place, scale=scale) for place in itertools.count(place_in_row))
    return next(point for point in points if _is_free(point, others, scale))


def _is_free(point: Point, others: Iterable[Taken], scale: float) -> bool:
    return all(
        math.dist(point, other.ground_point)
        >= ROW_SPACING * (scale + other.scale) / 2 * (1.0 - _TOLERANCE)
        for other in others
    )
