# SPDX-License-Identifier: GPL-3.0-or-later
"""Means of the scores of several objects, as JSON values and as a Markdown table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import fields

import numpy as np

from .mesh_scores import MeshScores

COLUMNS = {
    "chamfer": ("chamfer", ".3f"),
    "f_05": ("F@.05", ".3f"),
    "f_10": ("F@.1", ".3f"),
    "f_05_in_place": ("F@.05 in place", ".3f"),
    "volume_iou": ("volume IoU", ".3f"),
    "silhouette_iou": ("silhouette IoU", ".3f"),
    "input_psnr_db": ("input PSNR", ".2f"),
    "input_ssim": ("input SSIM", ".3f"),
    "novel_psnr_db": ("novel PSNR", ".2f"),
    "novel_clip": ("novel CLIP", ".3f"),
    "elevation_error_deg": ("elevation error", ".1f"),
    "seconds": ("seconds", ".1f"),
}
"""Field of `MeshScores` -> heading and format."""
ELEVATION_WITHIN_DEG = 10.0

Summary = dict[str, float | int | None]


def summarise(scores: Sequence[MeshScores]) -> Summary:
    """Means over the objects to which a number applies; how many they are; how many failed."""
    summary: Summary = {
        "objects": len(scores),
        "without_mesh": sum(row.f_05 is not None and row.chamfer is None for row in scores),
        "watertight": len(_values(scores, "volume_iou")),
    }
    for field in fields(MeshScores):
        values = _values(scores, field.name)
        summary[field.name] = round(float(np.mean(values)), 4) if values else None
    errors_deg = _values(scores, "elevation_error_deg")
    if errors_deg:
        summary["elevation_median_error_deg"] = round(float(np.median(errors_deg)), 2)
        within = np.mean(np.array(errors_deg) <= ELEVATION_WITHIN_DEG)
        summary["elevation_within_10_deg"] = round(float(within), 3)
    return summary


def markdown_table(summaries: Mapping[str, Summary]) -> str:
    """One row a method; a dash where a number does not apply."""
    headings = ["", *(heading for heading, _ in COLUMNS.values()), "no mesh"]
    lines = [_line(headings), _line(["---"] * len(headings))]
    for method, summary in summaries.items():
        cells = [_cell(summary[name], form) for name, (_, form) in COLUMNS.items()]
        lines.append(_line([method, *cells, str(summary["without_mesh"])]))
    return "\n".join(lines)


def remarks(summaries: Mapping[str, Summary], peak_memory_bytes: int) -> list[str]:
    """What does not fit into the table, a line each."""
    lines = [
        f"Elevation, {method}: median error {summary['elevation_median_error_deg']:.1f} degrees, "
        f"{100 * (summary['elevation_within_10_deg'] or 0):.0f} % within 10 degrees."
        for method, summary in summaries.items()
        if "elevation_median_error_deg" in summary
    ]
    num_closed = max(summary["watertight"] or 0 for summary in summaries.values())
    return [
        *lines,
        f"Volume IoU: of {num_closed} closed models.",
        f"Peak memory of the process, evaluation included: {peak_memory_bytes / 2**30:.1f} GiB.",
    ]


def _values(scores: Sequence[MeshScores], name: str) -> list[float]:
    return [value for row in scores if (value := getattr(row, name)) is not None]


def _cell(value: float | int | None, form: str) -> str:
    return "-" if value is None else format(value, form)


def _line(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
