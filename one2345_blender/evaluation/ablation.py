# SPDX-License-Identifier: GPL-3.0-or-later
"""What each part of the method brings, and what a wrong elevation costs (paper, table 3)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TypeVar

from ..contracts.cameras import PosedImages
from ..contracts.errors import EmptySurfaceError
from ..contracts.job import ElevationEstimate
from ..contracts.progress import ignore_events
from ..pipeline.foreground import ForegroundImage
from ..pipeline.lifting.guessed_object import GuessedObject
from ..pipeline.photo_evidence import PhotoEvidence
from ..pipeline.pipeline_one2345 import One2345Pipeline
from ..pipeline.view_schedule import NUM_STAGE1_VIEWS
from ..training.cutouts import rgba_from_render
from .attempts import PIPELINE, Attempt, Method, of_prepared, true_views, whole_pipeline
from .truth import TrueObject

ELEVATION_ERRORS_DEG = (-30, -20, -10, 0, 10, 20, 30)

_T = TypeVar("_T")
ChosenViews = Callable[[PosedImages], PosedImages]
ChosenEvidence = Callable[[PhotoEvidence], PhotoEvidence]
_Synthesised = tuple[ForegroundImage, GuessedObject | None, PosedImages, ElevationEstimate]


def ablations(pipeline: One2345Pipeline, *, seed: int) -> dict[str, Method]:
    """The rows of the table; the views of one object are made once for all that share them."""
    predicted = _Predicted(pipeline, seed)
    chosen = pipeline.source_views
    predicted_rows: dict[str, tuple[ChosenViews, ChosenEvidence]] = {
        "8 stage-1 views in place of the near views": (stage1_views, _unchanged),
        "all 40 views": (_unchanged, _unchanged),
        "no guess in the reconstruction": (chosen, _without_guess),
        "outline not filled": (chosen, _unfilled),
        "no outline": (chosen, _without_outline),
    }
    return {
        PIPELINE: partial(_reconstructed, predicted, chosen, _unchanged),
        **{
            name: partial(_reconstructed, predicted, views, evidence)
            for name, (views, evidence) in predicted_rows.items()
        },
        **{
            f"elevation wrong by {error_deg:+d}" if error_deg else "elevation given": (
                whole_pipeline(pipeline, seed=seed, elevation_error_deg=error_deg)
            )
            for error_deg in ELEVATION_ERRORS_DEG
        },
        "32 true near views": true_views(pipeline, chosen),
        "8 true stage-1 views": true_views(pipeline, stage1_views),
    }


def stage1_views(views: PosedImages) -> PosedImages:
    """The 8 views of stage 1."""
    return views.chosen(range(NUM_STAGE1_VIEWS))


@dataclass
class _Predicted:
    """The synthesised views of the object that was asked for last."""

    pipeline: One2345Pipeline
    seed: int
    _asset_id: str | None = None
    _latest: _Synthesised | None = field(default=None, repr=False)

    def of(self, truth: TrueObject) -> _Synthesised:
        if self._latest is None or self._asset_id != truth.asset_id:
            photo = self.pipeline.prepare(rgba_from_render(truth.rgb[0], truth.mask))
            two_stages = self.pipeline.two_stages(photo, seed=self.seed)
            synthesised = self.pipeline.synthesise(two_stages, None)
            self._latest = (photo, two_stages.guessed, *synthesised)
            self._asset_id = truth.asset_id
        return self._latest


def _reconstructed(
    predicted: _Predicted, views: ChosenViews, evidence: ChosenEvidence, truth: TrueObject
) -> Attempt:
    pipeline = predicted.pipeline
    photo, guessed, synthesised, elevation = predicted.of(truth)
    attempt = replace(
        of_prepared(photo, elevation, truth), views_rgb=synthesised.rgb[:NUM_STAGE1_VIEWS]
    )
    try:
        mesh = pipeline.reconstruct(
            views(synthesised),
            pipeline.config.grid_resolution,
            ignore_events,
            evidence(pipeline.evidence(photo, elevation, guessed)),
        )
    except EmptySurfaceError:
        return attempt
    return replace(attempt, mesh=mesh)


def _unchanged(given: _T) -> _T:
    return given


def _without_guess(evidence: PhotoEvidence) -> PhotoEvidence:
    return replace(evidence, guess=None)


def _unfilled(evidence: PhotoEvidence) -> PhotoEvidence:
    return replace(evidence, fills_silhouette=False)


def _without_outline(evidence: PhotoEvidence) -> PhotoEvidence:
    return replace(evidence, silhouette=None)
