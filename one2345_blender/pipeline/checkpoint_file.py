# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the tensors of a weights file without running code from it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - to name the refusal
from typing import Any
from zipfile import ZIP_STORED, BadZipFile, ZipFile

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file

from ..contracts.errors import CheckpointError

_INERT_PACKAGES = ("pytorch_lightning", "lightning", "lightning_fabric", "omegaconf", "numpy")
"""Training frameworks leave their settings in checkpoints as objects of these."""
_DICTIONARIES = ("pytorch_lightning.utilities.parsing.AttributeDict",)


StandIn = Callable[..., Any] | tuple[Callable[..., Any], str]
"""What PyTorch's reader takes for safe: a class, and the name that it goes by in files."""


class _Inert:
    """Takes the place of an object of a training framework: keeps nothing, does nothing."""

    def __new__(cls, *_args: object, **_kwargs: object) -> _Inert:
        return super().__new__(cls)

    def __setstate__(self, _state: object) -> None:
        """Forget it."""


def read_checkpoint_file(path: Path, *, hint: str) -> dict[str, Any]:
    """The content of a safetensors file, or of a zipped PyTorch file; its tensors on the CPU.

    Tensors are mapped from the file and read when they are used. A PyTorch file goes through
    PyTorch's own restricted reader; what it names of training frameworks becomes inert objects.

    Args:
        path: The file.
        hint: What to do when it cannot be used.

    Raises:
        CheckpointError: The file is missing, damaged, no dict, or names code of anything else.
    """
    if not path.is_file():
        raise CheckpointError(f"Expected a checkpoint file, found none at {path}.", hint=hint)
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        _refuse_packed(path, hint)
        with torch.serialization.safe_globals(_stand_ins(path, hint)):
            checkpoint = torch.load(  # noqa: TID251 - the one place; tensors only
                path, map_location="cpu", weights_only=True, mmap=True
            )
    except UnpicklingError as error:
        raise CheckpointError(
            f"{path.name} is not a plain file of tensors; it may carry code and was not opened.",
            hint=hint,
        ) from error
    except (
        *(OSError, RuntimeError, EOFError, ValueError, KeyError),
        *(SafetensorError, BadZipFile),
    ) as error:
        raise CheckpointError(f"{path.name} cannot be read: {error}", hint=hint) from error
    if not isinstance(checkpoint, Mapping):
        raise CheckpointError(
            f"{path.name}: expected a dict of tensors, got {type(checkpoint).__name__}.", hint=hint
        )
    return dict(checkpoint)


def _refuse_packed(path: Path, hint: str) -> None:
    """PyTorch stores tensors as they are; what has to be unpacked can be of any size.

    Raises:
        CheckpointError: An entry is compressed.
        BadZipFile: It is no zip file.
    """
    with ZipFile(path) as archive:
        for entry in archive.infolist():
            if entry.compress_type != ZIP_STORED or entry.file_size != entry.compress_size:
                raise CheckpointError(
                    f"{path.name}: {entry.filename[:100]!r} is compressed, which PyTorch never "
                    "does; it was not opened.",
                    hint=hint,
                )


def _stand_ins(path: Path, hint: str) -> list[StandIn]:
    """An inert class for each name in the file that PyTorch's reader would refuse.

    Raises:
        CheckpointError: A name is of no training framework.
    """
    stand_ins: list[StandIn] = []
    for name in sorted(torch.serialization.get_unsafe_globals_in_checkpoint(str(path))):
        if name.split(".")[0] not in _INERT_PACKAGES:
            raise CheckpointError(
                f"{path.name} names {name}: it may carry code and was not opened.", hint=hint
            )
        inert = dict if name in _DICTIONARIES else type(name.rsplit(".")[-1], (_Inert,), {})
        stand_ins.append((inert, name))
    return stand_ins
