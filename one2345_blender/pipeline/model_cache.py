# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads presets, checks that their weights are whole, and keeps the last one in memory."""

from __future__ import annotations

import json
from pathlib import Path

import torch

from ..contracts.bounded_file import read_bounded
from ..contracts.errors import CheckpointError
from .device_memory import release_unused
from .devices import diffusion_dtype, prepare_device, resolve_device
from .pipeline_one2345 import One2345Pipeline
from .preset_folders import MODEL_INDEX, preset_folder
from .preset_weights import HINT, check_tensors, loading_errors_named
from .reconstruction.reconstructor import SparseNeuSReconstructor
from .zero123.offloading import place_networks


class ModelCache:
    """One loaded preset at a time: a worker that converts again does not load again.

    Args:
        needs_reconstruction: Whether a preset without a reconstruction network is an error;
            synthesising views does without.
    """

    def __init__(self, *, needs_reconstruction: bool = True) -> None:
        self._needs_reconstruction = needs_reconstruction
        self._key: tuple[str, str] | None = None
        self._pipeline: One2345Pipeline | None = None

    def get(self, preset: str, device: str) -> One2345Pipeline:
        """The pipeline of a preset on a device, loaded if it is not there yet.

        Raises:
            OptionError: There is no such preset.
            CheckpointError: Its weights are missing or damaged.
            DeviceError: There is no such device.
        """
        resolved = resolve_device(device)
        folder = preset_folder(preset)
        key = (str(folder), str(resolved))
        if self._pipeline is None or key != self._key:
            self.unload()
            self._pipeline = load_pipeline(
                folder, resolved, needs_reconstruction=self._needs_reconstruction
            )
            self._key = key
        return self._pipeline

    def unload(self) -> None:
        """Let go of the models and of the device's cached memory."""
        if self._key is None:
            return
        _, device = self._key
        self._pipeline = self._key = None
        release_unused(torch.device(device))


def load_pipeline(
    folder: Path, device: torch.device, *, needs_reconstruction: bool = True
) -> One2345Pipeline:
    """Load a preset's folder in the diffusers layout; never from the network.

    Args:
        folder: Holds the `model_index.json` of a `One2345Pipeline`.
        device: Where the networks go.
        needs_reconstruction: Off: where the folder has no such network, an untrained one stands in
            that tells the size of the views.

    Raises:
        CheckpointError: A file is missing or damaged, or a tensor is missing or of another shape.
    """
    prepare_device(device)
    dtype = diffusion_dtype(device)
    stand_in = {}
    if not _has_reconstruction(folder):
        if needs_reconstruction:
            raise CheckpointError(
                f"The preset in {folder} can make views, but has no reconstruction network.",
                hint="python -m one2345_blender import-checkpoint ckpt_215000.pth --output "
                f"{folder} adds it.",
            )
        stand_in["reconstruction"] = SparseNeuSReconstructor()
    with loading_errors_named(folder):
        pipeline = One2345Pipeline.from_pretrained(
            folder,
            **stand_in,
            dtype={"default": dtype, "reconstruction": torch.float32},
            local_files_only=True,
            use_safetensors=True,
        )
        for name, module in pipeline.components.items():
            if isinstance(module, torch.nn.Module) and name not in stand_in:
                check_tensors(folder / name, module)
    place_networks(pipeline, device)
    return pipeline


def _has_reconstruction(folder: Path) -> bool:
    """Whether the preset's index names a reconstruction network.

    Raises:
        CheckpointError: The index cannot be read, or is that of another kind of pipeline.
    """
    path = folder / MODEL_INDEX
    try:
        index = json.loads(read_bounded(path))
        kind = index.get("_class_name")
    except (OSError, ValueError, AttributeError, RecursionError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}", hint=HINT) from error
    if kind != One2345Pipeline.__name__:
        raise CheckpointError(
            f"{folder} holds a {kind}; expected a {One2345Pipeline.__name__}.",
            hint=f"python -m one2345_blender import-checkpoint {folder} --output NEW_FOLDER makes "
            "a preset of it.",
        )
    return "reconstruction" in index
