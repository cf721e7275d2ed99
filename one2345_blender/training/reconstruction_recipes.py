# SPDX-License-Identifier: GPL-3.0-or-later
"""What the reconstruction network can learn from (the paper's sections 3.3 and 4.4)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class ReconstructionRecipe:
    """Which views it sees, and what says that it is right."""

    supervision: Literal["depth", "rays"] = "depth"
    """Distance and colour at points, from rendered depth; or the colours along rays, as in the
    original."""
    predicted_share: float = 0.6
    """Of the examples whose sources are the view generator's predictions, as soon as there are
    some; the others are true renders."""
    source_stage: Literal[1, 2] = 2
    """Sources are the 8 views of stage 1, or the photo and near views of stage 2."""
    sees_photo: bool = True
    """The photo is one of the sources; in the original only near views are."""

    def __post_init__(self) -> None:
        if self.source_stage == 1 and self.predicted_share > 0.0:
            raise ValueError("predicted views are those of stage 2")


SHIPPED = ReconstructionRecipe()
RECIPES = {
    "depth": SHIPPED,
    "rays": ReconstructionRecipe(supervision="rays"),
    "true-views": ReconstructionRecipe(predicted_share=0.0),
    "predicted-views": ReconstructionRecipe(predicted_share=1.0),
    "no-photo": ReconstructionRecipe(sees_photo=False),
    "stage-1-views": ReconstructionRecipe(predicted_share=0.0, source_stage=1),
}
