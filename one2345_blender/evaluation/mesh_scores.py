# SPDX-License-Identifier: GPL-3.0-or-later
"""All numbers about one mesh of one object."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
from numpy.typing import NDArray

from ..contracts.cameras import Viewpoint
from ..contracts.mesh import ColoredMesh
from ..training.picture_scores import psnr_db, silhouette_iou, ssim
from .attempts import Attempt
from .clip_similarity import ClipSimilarity
from .mesh_renderer import MeshRenderer
from .occupancy import volume_iou
from .surface_scores import as_trimesh, normalisation, score_surface
from .truth import NOVEL_VIEWPOINTS, TrueObject


@dataclass(frozen=True, kw_only=True)
class MeshScores:
    """None: does not apply. An object without a mesh scores 0 wherever more is better."""

    chamfer: float | None = None
    f_05: float | None = None
    f_10: float | None = None
    f_05_in_place: float | None = None
    volume_iou: float | None = None
    silhouette_iou: float | None = None
    """Through the matched camera, as the next two."""
    input_psnr_db: float | None = None
    input_ssim: float | None = None
    novel_psnr_db: float | None = None
    """Mean of `NOVEL_VIEWPOINTS`, from where the true cameras stand."""
    novel_clip: float | None = None
    """CLIP similarity of the same views, where the user has CLIP."""
    elevation_error_deg: float | None = None
    seconds: float | None = None

    def as_row(self) -> dict[str, float | None]:
        """Rounded, for JSON."""
        return {k: None if v is None else round(v, 4) for k, v in asdict(self).items()}


def score_attempt(
    attempt: Attempt,
    truth: TrueObject,
    renderer: MeshRenderer,
    clip: ClipSimilarity | None = None,
) -> MeshScores:
    """Compare an attempt with the truth."""
    matched = Viewpoint(name="input", azimuth_deg=0.0, elevation_deg=attempt.elevation_deg)
    picture, outline = draw(renderer, attempt.mesh, matched)
    in_world = attempt.mesh_in_world
    novel = np.array([draw(renderer, in_world, view)[0] for view in NOVEL_VIEWPOINTS])
    return MeshScores(
        **_shape_scores(in_world, truth),
        **_novel_scores(novel, truth, clip),
        silhouette_iou=float(silhouette_iou(attempt.mask, outline)),
        input_psnr_db=float(psnr_db(attempt.rgb, picture)),
        input_ssim=ssim(attempt.rgb, picture),
        elevation_error_deg=(
            None
            if attempt.elevation is None
            else abs(attempt.elevation.elevation_deg - truth.elevation_deg)
        ),
        seconds=attempt.seconds,
    )


def score_repeated_input(truth: TrueObject, clip: ClipSimilarity | None = None) -> MeshScores:
    """What simply showing the input again, from everywhere, is worth."""
    repeated = np.broadcast_to(truth.rgb[:1], truth.novel_rgb.shape)
    return MeshScores(**_novel_scores(repeated, truth, clip))


def _novel_scores(
    novel: NDArray[np.uint8], truth: TrueObject, clip: ClipSimilarity | None
) -> dict[str, float | None]:
    return {
        "novel_psnr_db": float(psnr_db(truth.novel_rgb, novel).mean()),
        "novel_clip": None if clip is None else clip(truth.novel_rgb, novel),
    }


def draw(
    renderer: MeshRenderer, mesh: ColoredMesh | None, viewpoint: Viewpoint, *, is_clay: bool = False
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Picture and outline; white and empty where there is no mesh."""
    if mesh is None:
        side = renderer.size_px
        return np.full((side, side, 3), 255, np.uint8), np.zeros((side, side), bool)
    return renderer.render(mesh, viewpoint, is_clay=is_clay)


def _shape_scores(mesh: ColoredMesh | None, truth: TrueObject) -> dict[str, float | None]:
    if mesh is None:
        volume = 0.0 if truth.is_watertight else None
        return {"f_05": 0.0, "f_10": 0.0, "f_05_in_place": 0.0, "volume_iou": volume}
    surface = score_surface(mesh, truth.points)
    volume = None
    if truth.is_watertight:
        volume = volume_iou(
            as_trimesh(mesh).apply_transform(surface.aligned_from_world),
            truth.surface.copy().apply_transform(normalisation(truth.points)),
        )
    return {
        "chamfer": surface.chamfer,
        "f_05": surface.f_05,
        "f_10": surface.f_10,
        "f_05_in_place": surface.f_05_in_place,
        "volume_iou": volume,
    }
