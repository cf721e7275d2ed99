# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the published weights are to be had, and under which licences."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase

from ..contracts.errors import CheckpointError
from .weights_record import SourceRecord


@dataclass(frozen=True, kw_only=True)
class Source:
    """A repository on the hub, and which of its files are needed."""

    repo_id: str
    revision: str
    """A commit where one is known; else a branch, whose commit of the first download is kept."""
    patterns: tuple[tuple[str, ...], ...]
    """For each needed file, the patterns that may name it, the preferred one first."""
    imported: str
    """What `import_checkpoint` takes: a path in the repository, `.` for its folder."""
    licence: str
    holds: str

    @property
    def is_pinned(self) -> bool:
        """`revision` is a commit, whose files cannot change."""
        return re.fullmatch(r"[0-9a-f]{40}", self.revision) is not None


def _component(folder: str, file: str) -> tuple[tuple[str, ...], ...]:
    """Configuration and weights of a diffusers folder: averaged, half, or full precision."""
    weights = (f"{file}.fp16_ema", f"{file}.fp16", file)
    return (
        (f"{folder}/config.json",),
        tuple(f"{folder}/{name}.safetensors" for name in weights),
    )


_RECONSTRUCTION = "SparseNeuS_demo_v1/exp/lod0/checkpoints/ckpt_215000.pth"

PUBLISHED: dict[str, tuple[Source, ...]] = {
    "zero123-xl": (
        Source(
            repo_id="bennyguo/zero123-xl-diffusers",
            revision="ae385edfaf74c677408f96bd04b513483bd326ac",
            patterns=(
                ("model_index.json",),
                ("scheduler/scheduler_config.json",),
                *_component("unet", "diffusion_pytorch_model"),
                *_component("vae", "diffusion_pytorch_model"),
                *_component("image_encoder", "model"),
                *_component("clip_camera_projection", "diffusion_pytorch_model"),
            ),
            imported=".",
            licence="MIT (Zero-1-to-3, Computer Vision Lab at Columbia University; image encoder: "
            "CLIP, OpenAI), intended by its authors for research; fine-tuned from Stable "
            "Diffusion: CreativeML Open RAIL-M, whose use restrictions bind you as well",
            holds="Zero123-XL, which makes the views",
        ),
        Source(
            repo_id="One-2-3-45/code",
            revision="main",
            patterns=((_RECONSTRUCTION,),),
            imported=_RECONSTRUCTION,
            licence="MIT (One-2-3-45)",
            holds="the network that reads the surface out of the views",
        ),
    ),
}
"""Preset -> where its parts come from. docs/weights.md says where the licences were read."""


def needed_files(source: Source, available: Sequence[str]) -> list[str]:
    """The files of a repository that a source asks for.

    Args:
        available: All paths in the repository.

    Raises:
        CheckpointError: One of them is not there.
    """
    needed = []
    for alternatives in source.patterns:
        matches = [
            path for pattern in alternatives for path in available if fnmatchcase(path, pattern)
        ]
        if not matches:
            raise CheckpointError(
                f"{source.repo_id} was expected to hold {alternatives[0]}; "
                f"it has {', '.join(sorted(available)[:8])}.",
                hint="The repository has changed: fetch the weights elsewhere, or update.",
            )
        needed.append(matches[0])
    return needed


def agreed(record: SourceRecord, source: Source, *, origin: str, hint: str) -> SourceRecord:
    """What somebody says of a source, so far as it is asked for.

    Args:
        origin: Who says it.
        hint: What to do if that cannot be.

    Raises:
        CheckpointError: It is of another commit than the one that is pinned, or a needed file is
            missing.
    """
    if source.is_pinned and record.commit != source.revision:
        raise CheckpointError(
            f"{origin}: expected {source.repo_id} at the commit {source.revision}, got "
            f"{record.commit!r}.",
            hint=hint,
        )
    known = {file.path: file for file in record.files}
    try:
        needed = needed_files(source, list(known))
    except CheckpointError as error:
        raise CheckpointError(f"{origin}: {error.message}", hint=hint) from error
    return replace(record, files=tuple(known[path] for path in needed))
