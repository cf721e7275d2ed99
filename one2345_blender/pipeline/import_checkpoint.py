# SPDX-License-Identifier: GPL-3.0-or-later
"""Turns published weights into a preset's folder, once: safetensors in the diffusers layout.

`zero123-xl.ckpt` or a published diffusers folder gives Zero123's networks, `ckpt_215000.pth` the
reconstruction network; both go into the same folder. A conversion needs both, `views` the first.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import diffusers
import torch
from diffusers import DDIMScheduler
from safetensors import SafetensorError
from torch import nn

from ..contracts.bounded_file import read_bounded
from ..contracts.errors import CheckpointError, OptionError, OutputError
from ..contracts.job import FAST_SAMPLER
from ..contracts.job_folder import prepare_output_dir
from ..contracts.preset_location import packaged_preset
from .checkpoint_file import read_checkpoint_file
from .job_record import JobResult
from .preset_folders import MODEL_INDEX
from .reconstruction.checkpoint import MODULES as RECONSTRUCTION_PARTS
from .reconstruction.checkpoint import load_original_checkpoint
from .reconstruction.reconstructor import SparseNeuSReconstructor
from .result_files import write_json
from .zero123.convert_checkpoint import load_ldm_checkpoint
from .zero123.network_configs import ORIGINAL_NETWORKS, ORIGINAL_SCHEDULER, build_networks
from .zero123.published_folder import read_published_folder

SEGMENTER = "segmenter"
_HINT = "Give zero123-xl.ckpt, ckpt_215000.pth or a folder in the diffusers layout, undamaged."


def import_checkpoint(source: Path, output_dir: Path, config_json: Path | None = None) -> JobResult:
    """Write the networks of `source` to the preset folder `output_dir`.

    Args:
        source: One-2-3-45's or Zero123's checkpoint file, or a published diffusers folder.
        output_dir: A new folder, or one that holds the other networks already; not `source`, whose
            tensors are still being read while it is written.
        config_json: Sizes of the networks in a Zero123 checkpoint, in the form that
            `build_networks` takes; None: the published ones.

    Raises:
        CheckpointError: The file is missing or carries code; a tensor is missing, surplus or of
            another shape.
        OptionError: The sizes cannot be read, or both folders are the same.
        OutputError: The folder cannot be written to.
    """
    if output_dir.resolve() == source.resolve():
        raise OptionError(
            f"output: expected another folder than the source, got {output_dir} for both.",
            hint="Choose a new folder for the preset.",
        )
    parts = _read_parts(source, config_json)
    prepare_output_dir(output_dir)
    for name, part in parts.items():
        _save_part(part, output_dir / name)
    index_path = output_dir / MODEL_INDEX
    index = _read_index(index_path)
    index |= {"_class_name": "One2345Pipeline", "_diffusers_version": diffusers.__version__}
    index.setdefault("sampler", FAST_SAMPLER)
    index |= {name: _library_and_class(part) for name, part in parts.items()}
    if SEGMENTER not in index:
        _copy_part(packaged_preset("embedded") / SEGMENTER, output_dir / SEGMENTER)
        index[SEGMENTER] = ["one2345_blender.pipeline.segmenter", "ForegroundSegmenter"]
    files = {"preset": str(output_dir), "model_index": write_json(index_path, index)}
    return JobResult(files=files, report={"source": str(source), "networks": sorted(parts)})


def _save_part(part: Any, folder: Path) -> None:
    try:
        part.save_pretrained(folder)
    except (OSError, SafetensorError) as error:
        raise _unwritable(folder, error) from error


def _copy_part(source: Path, folder: Path) -> None:
    try:
        shutil.copytree(source, folder, dirs_exist_ok=True)
    except shutil.Error as error:  # one line for each file
        raise _unwritable(folder, error.args[0][0][-1]) from error
    except OSError as error:
        raise _unwritable(folder, error) from error


def _unwritable(folder: Path, error: Exception | str) -> OutputError:
    return OutputError(
        f"Could not write {folder}: {error}.",
        hint="Check free space and permissions of the output folder.",
    )


def _read_index(path: Path) -> dict[str, Any]:
    """What the folder is already; empty: it is new."""
    if not path.exists():
        return {}
    try:
        index = json.loads(read_bounded(path))
    except (OSError, ValueError, RecursionError) as error:
        raise CheckpointError(
            f"{path} cannot be read: {error}", hint="Choose a new folder."
        ) from error
    if not isinstance(index, dict):
        raise CheckpointError(f"Expected an object in {path}.", hint="Choose a new folder.")
    return index


def _read_parts(source: Path, config_json: Path | None) -> dict[str, Any]:
    """Networks and scheduler by their names in the pipeline."""
    scheduler = DDIMScheduler(**ORIGINAL_SCHEDULER)
    if source.is_dir():
        return {**read_published_folder(source), "scheduler": scheduler}
    checkpoint = read_checkpoint_file(source, hint=_HINT)
    if RECONSTRUCTION_PARTS.keys() <= checkpoint.keys():
        reconstruction = SparseNeuSReconstructor()
        load_original_checkpoint(reconstruction, source)
        return {"reconstruction": reconstruction}
    return {
        **_zero123_networks(checkpoint.get("state_dict", checkpoint), source, config_json),
        "scheduler": scheduler,
    }


def _zero123_networks(
    state_dict: object, source: Path, config_json: Path | None
) -> dict[str, nn.Module]:
    """In the number format of the file; nothing is read into memory yet."""
    if not isinstance(state_dict, Mapping):
        raise CheckpointError(f"{source.name} holds no tensors by name.", hint=_HINT)
    tensors = {name: value for name, value in state_dict.items() if isinstance(value, torch.Tensor)}
    with torch.device("meta"):
        networks = build_networks(_read_sizes(config_json))
    dtypes = {tensor.dtype for name, tensor in tensors.items() if name.endswith(".weight")}
    dtype = dtypes.pop() if len(dtypes) == 1 else torch.float32
    for network in networks.values():
        nn.Module.to(network, dtype)
    load_ldm_checkpoint(tensors, **networks)
    return networks


def _read_sizes(config_json: Path | None) -> Mapping[str, Any]:
    if config_json is None:
        return ORIGINAL_NETWORKS
    try:
        sizes = json.loads(read_bounded(config_json))
    except (OSError, ValueError, RecursionError) as error:
        raise OptionError(
            f"config: {config_json} cannot be read: {error}", hint="Give a JSON file of sizes."
        ) from error
    if not isinstance(sizes, dict):
        raise OptionError(f"config: expected an object in {config_json}.")
    return sizes


def _library_and_class(part: object) -> list[str]:
    """How a model index names a class: diffusers and transformers look in their top module."""
    module = type(part).__module__
    library = module.split(".")[0]
    return [library if library in ("diffusers", "transformers") else module, type(part).__name__]
