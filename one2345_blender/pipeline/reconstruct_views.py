# SPDX-License-Identifier: GPL-3.0-or-later
"""Posed views in, a coloured mesh out: the method's second half on its own (paper section 3.3)."""

from __future__ import annotations

import torch

from ..contracts.cameras import PosedImages
from ..contracts.mesh import ColoredMesh
from ..contracts.progress import OnEvent
from .meshing import extract_mesh
from .photo_evidence import NO_EVIDENCE, PhotoEvidence
from .reconstruction.reconstructor import SparseNeuSReconstructor


def reconstruct_views(
    reconstruction: SparseNeuSReconstructor,
    views: PosedImages,
    grid_resolution: int,
    on_event: OnEvent,
    evidence: PhotoEvidence = NO_EVIDENCE,
) -> ColoredMesh:
    """Posed views to a mesh in the cameras' world frame; see `One2345Pipeline.reconstruct`."""
    device = reconstruction.device
    rgb = torch.from_numpy(views.rgb).to(device).permute(0, 3, 1, 2).float().contiguous() / 255.0
    c2w, K, reference_c2w = (
        torch.from_numpy(array).to(device)
        for array in (views.cameras.c2w, views.cameras.K, views.reference_c2w)
    )
    volume = reconstruction.encode(
        rgb,
        c2w,
        K,
        reference_c2w,
        near_far=views.cameras.near_far,
        guess=evidence.guess,
        on_event=on_event,
    )
    return extract_mesh(reconstruction, volume, grid_resolution, on_event, evidence)
