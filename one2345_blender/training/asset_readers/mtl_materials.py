# SPDX-License-Identifier: GPL-3.0-or-later
"""Wavefront MTL: the colour, opacity and colour texture of named materials."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Material:
    """What the rasterizer uses of a material. A texture replaces `diffuse`, it is not multiplied:
    many exporters leave a meaningless dark `Kd` beside `map_Kd`."""

    diffuse: tuple[float, float, float] = (0.8, 0.8, 0.8)
    """sRGB, 0..1."""
    opacity: float = 1.0
    texture_name: str | None = None
    """As written in the file, relative to it."""


def parse_mtl(text: str) -> dict[str, Material]:
    """Materials by name; statements that are not understood are skipped, as the format asks."""
    fields: dict[str, dict[str, object]] = {}
    current: dict[str, object] = {}
    for line in text.splitlines():
        keyword, _, rest = line.strip().partition(" ")
        values = rest.split()
        if not values:
            continue
        if keyword == "newmtl":
            current = fields.setdefault(rest.strip(), {})
        elif keyword == "Kd" and (color := _floats(values[:3])) and len(color) == 3:
            current["diffuse"] = tuple(min(max(channel, 0.0), 1.0) for channel in color)
        elif keyword == "d" and (opacity := _floats(values[-1:])):
            current["opacity"] = min(max(opacity[0], 0.0), 1.0)
        elif keyword == "map_Kd":
            current["texture_name"] = values[-1] if rest.lstrip().startswith("-") else rest.strip()
    return {name: Material(**values) for name, values in fields.items()}  # type: ignore[arg-type]


def _floats(words: list[str]) -> list[float]:
    try:
        return [float(word) for word in words]
    except ValueError:
        return []
