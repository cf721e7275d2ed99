# SPDX-License-Identifier: GPL-3.0-or-later
"""The embedded preset's model card: data, recipe and validation, from the runs' own records."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from torch import nn

from ..contracts.job_folder import atomic_write
from .assets_command import MANIFEST_PATH
from .manifest import read_manifest
from .run_folder import PROGRESS_NAME
from .training_record import TrainedNetwork, read_record, write_record
from .validate_views import FAR

CARD_NAME = "README.md"
GATE_GAIN_DB, GATE_IOU = 2.0, 0.70

_CARD = """\
---
license: cc-by-sa-4.0
library_name: diffusers
---
# One-2-3-45 for Blender: the embedded preset

Written by `python -m one2345_blender.training assemble` from the runs' records; do not edit.

Small networks that turn a photo of one object into a coloured mesh, on a CPU, offline. They are
trained from scratch by this project; no published weights went into them.

## Data

{num_train} models for training, {num_val} for validation, {num_test} kept apart for testing, split
by object. {licences}.
Every model with author, licence and source stands in [data/ATTRIBUTION.md](data/ATTRIBUTION.md)
and, for programs, in `data/manifest.json`; the pictures behind the segmenter's composites in
`data/backgrounds.json`. Neither models nor pictures are part of this repository.

Models under CC-BY-SA 3.0 are among them, so the weights are licensed under
[CC-BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/). It lets them be part of this
GPL-3.0-or-later package under the terms of version 3 of the GPL.

## Recipe

Rendered views of 128 x 128 pixels: per object and input pose the method's 8 stage-1 views and
their 32 near views, inputs at elevations of -10 to 60 degrees, lights varied.
All on two CPU cores that other work shared; hours are the trainings' own clocks. Objects are those
whose pictures were trained on, in the sitting with most of them; a plus sign joins trainings that
went on from each other's weights. {num_attributed} models are under
CC0 and CC-BY alone: a training that saw no more than these was over before the others were added.

| network | parameters | trained as | objects | steps | hours |
| --- | --- | --- | --- | --- | --- |
{runs}

## Validation, on objects that no network saw

Zero123 with the preset's own sampling settings: PSNR against the rendered view, silhouette IoU, and
both for the input simply repeated.

| views | PSNR, dB | input repeated | IoU | input repeated |
| --- | --- | --- | --- | --- |
{views}

{gate}

Autoencoder: {autoencoder_psnr_db:.1f} dB.
Elevation from the photo: median error {elevation[median_deg]} degrees, mean {elevation[mean_deg]},
{elevation[within_10]:.0%} within 10 degrees (the photos stand at -10 to 60).
Foreground segmenter on composites: IoU {segmenter_iou:.3f}.
Reconstruction, from true and from predicted views, occupancy IoU and mean error of
the truncated signed distance in world units: {reconstruction}.

## Limits

One object, whole and unobscured. From the photo's side the mesh fills the photo's outline and has
its colours; what the views lost of it, thin parts above all, is a layer at a likely depth. The far
side is a guess, blurred, without patterns; hollows are filled. The elevation comes from the photo
alone. Glass and mirrors come out opaque. People were hardly among the training models.
"""

_RUNS = {
    "autoencoder": (("vae",), "L1 and gradient loss on views, noise on the latents"),
    "decoder": (("vae",), "the autoencoder's decoder alone, for sharper outlines"),
    "elevation": (
        ("photo_elevation",),
        "cross-entropy over blurred bins of 5 degrees, on views cropped like photos",
    ),
    "lifter": (
        ("photo_lifter",),
        "absolute error of the visible depth, cross-entropy of inside and outside behind it, "
        "colours of surface points and of another view",
    ),
    "views": (
        ("unet", "image_encoder", "clip_camera_projection"),
        "v-prediction in the latents, on the method's own camera offsets, the lifter's view of the "
        "photo as one more condition, moving average kept",
    ),
    "reconstruction": (
        ("reconstruction",),
        "truncated signed distance and colour from rendered depth, true and predicted views mixed",
    ),
    "segmenter": (
        ("segmenter",),
        "cross-entropy and Dice on composites over photos and procedural backdrops",
    ),
}
"""Run -> the networks that it trained, and how."""


def write_model_card(
    data_dir: Path,
    preset_dir: Path,
    networks: dict[str, nn.Module],
    view_scores: dict[str, dict[str, float]],
) -> None:
    """Write `README.md` into the preset.

    Args:
        data_dir: Holds the run folders of trainings; of the others the preset's record tells.
        preset_dir: The preset's folder.
        networks: By their names in the pipeline.
        view_scores: Of the assembled view generator, from `validate_views`.
    """
    manifest = read_manifest(MANIFEST_PATH)
    splits = Counter(asset.split for asset in manifest.assets)
    licence_of = {library.key: library.licence for library in manifest.libraries}
    licences = Counter(
        licence_of[asset.library] for asset in manifest.assets if asset.split == "train"
    )
    share_alike = sum(count for licence, count in licences.items() if "-SA" in licence)
    record = read_record(preset_dir)
    for name in _RUNS:
        if (data_dir / name / PROGRESS_NAME).is_file():
            record.setdefault(name, TrainedNetwork()).add(data_dir / name)
    write_record(preset_dir, record)
    scores = {name: network.scores for name, network in record.items()}
    card = _CARD.format(
        num_train=splits["train"],
        num_val=splits["val"],
        num_test=splits["near_test"] + splits["far_test"],
        num_attributed=splits["train"] - share_alike,
        licences="Licences of the training models: "
        + ", ".join(f"{licence} {count}" for licence, count in sorted(licences.items())),
        runs="\n".join(_run_row(name, record[name], networks) for name in _RUNS),
        views="\n".join(
            f"| {kind} | {s['psnr_db']} | {s['input_psnr_db']} | {s['iou']} | {s['input_iou']} |"
            for kind, s in view_scores.items()
        ),
        gate=_gate(view_scores[FAR]),
        elevation=scores["elevation"]["scores"],
        autoencoder_psnr_db=scores["decoder"]["psnr_db"],
        segmenter_iou=scores["segmenter"]["iou"],
        reconstruction=", ".join(
            f"{name.replace('_', ' ')} {value:.3f}"
            for name, value in scores["reconstruction"]["validation"].items()
        ),
    )
    with atomic_write(preset_dir / CARD_NAME) as file:
        file.write(card.encode())


def _gate(far: dict[str, float]) -> str:
    """Whether the view generator is as good as it had to be before it was trained for long."""
    gain_db = far["psnr_db"] - far["input_psnr_db"]
    has_passed = gain_db >= GATE_GAIN_DB and far["iou"] >= GATE_IOU
    return (
        f"**Gate {'passed' if has_passed else 'missed'}.** Of views that look from more than 45 "
        f"degrees away were asked at least {GATE_GAIN_DB:g} dB more than the input repeated has, "
        f"and an IoU of {GATE_IOU:.2f}. They have {gain_db:.2f} dB more, and {far['iou']:.3f}"
        + ("." if has_passed else ": far sides are rough, in shape and colours.")
    )


def _run_row(name: str, network: TrainedNetwork, networks: dict[str, nn.Module]) -> str:
    parts, recipe = _RUNS[name]
    count = sum(p.numel() for part in parts for p in networks[part].parameters())
    runs = network.trainings
    objects = " + ".join("not recorded" if t.objects is None else f"{t.objects:,}" for t in runs)
    steps = " + ".join(f"{t.steps:,}" for t in runs)
    hours = " + ".join(f"{t.hours:.1f}" for t in runs)
    return f"| {name} | {count:,} | {recipe} | {objects} | {steps} | {hours} |"
