# SPDX-License-Identifier: GPL-3.0-or-later
"""A preset's weights on disk: whether they are whole, and the reconstruction's loaded alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open

from ..contracts.errors import CheckpointError
from .preset_folders import preset_folder
from .reconstruction.checkpoint import load_original_checkpoint
from .reconstruction.reconstructor import SparseNeuSReconstructor

HINT = "Install or import the weights again."


def load_reconstruction(checkpoint: Path | None) -> SparseNeuSReconstructor:
    """The reconstruction network alone.

    Args:
        checkpoint: The original's `.pth` file, or a folder with `config.json` and safetensors;
            None: the embedded preset's.

    Raises:
        CheckpointError: It is missing, damaged, incomplete or carries code.
    """
    folder = checkpoint or preset_folder("embedded") / "reconstruction"
    if not folder.is_dir():
        reconstruction = SparseNeuSReconstructor()
        load_original_checkpoint(reconstruction, folder)
        return reconstruction
    with loading_errors_named(folder):
        reconstruction = SparseNeuSReconstructor.from_pretrained(
            folder, dtype=torch.float32, local_files_only=True, use_safetensors=True
        )
        check_tensors(folder, reconstruction)
    return reconstruction


@contextmanager
def loading_errors_named(folder: Path) -> Iterator[None]:
    """Turn what libraries raise about the weights in a folder into a `CheckpointError`."""
    try:
        yield
    except (OSError, ValueError, RuntimeError, SafetensorError, KeyError, ImportError) as error:
        raise CheckpointError(
            f"The weights in {folder} cannot be loaded: {error}", hint=HINT
        ) from error


def check_tensors(folder: Path, module: torch.nn.Module) -> None:
    """Missing tensors would silently be random: compare names and shapes with the files'."""
    found: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("*.safetensors")):
        with safe_open(path, framework="pt") as file:
            keys = file.keys()
            found.update({key: tuple(file.get_slice(key).get_shape()) for key in keys})
    expected = {key: tuple(tensor.shape) for key, tensor in module.state_dict().items()}
    problems = [
        f"missing {sorted(expected.keys() - found.keys())[:5]}" * bool(expected.keys() - found),
        f"surplus {sorted(found.keys() - expected.keys())[:5]}" * bool(found.keys() - expected),
        *(
            f"{key}: expected {expected[key]}, found {found[key]}"
            for key in sorted(expected.keys() & found.keys())
            if expected[key] != found[key]
        ),
    ]
    if described := "; ".join(p for p in problems if p):
        raise CheckpointError(f"The weights in {folder} do not fit: {described}.", hint=HINT)
