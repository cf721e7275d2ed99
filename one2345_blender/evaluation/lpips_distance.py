# SPDX-License-Identifier: GPL-3.0-or-later
"""Shift-tolerant LPIPS (arXiv 2207.13686): how far apart pictures look to people.

The PyPI package `stlpips-pytorch` carries the weights (BSD-2). Its code is not used: it imports
torchvision, IPython and torchsummary. The network here is AlexNet as the paper changes it.
"""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from pickle import UnpicklingError  # noqa: TID251 - to name the refusal

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional as F

from ..contracts.errors import CheckpointError
from ..pipeline.zero123.image_conditioning import images_from_rgb

PACKAGE = "stlpips_pytorch"
_WEIGHTS = Path("weights", "vST0.0", "alex_shift_tolerant.pth")
_LAYERS = (("slice1.0", 2), ("slice2.5", 2), ("slice3.9", 1), ("slice4.11", 1), ("slice5.13", 1))
"""Convolutions by their names in the file, and their padding."""
_BLURRED = {"slice2.5": "slice2.4", "slice3.9": "slice3.8"}
"""What is pooled and halved before a convolution, with a filter of this name."""


class LpipsDistance:
    """Compares pictures.

    Args:
        weights: The package's file; older than the format that `read_checkpoint_file` maps, and
            read by PyTorch's own restricted reader.

    Raises:
        CheckpointError: It cannot be read.
    """

    def __init__(self, weights: Path) -> None:
        try:
            self._weights: dict[str, torch.Tensor] = torch.load(  # noqa: TID251 - tensors only
                weights, map_location="cpu", weights_only=True
            )
        except (OSError, RuntimeError, UnpicklingError) as error:
            raise CheckpointError(
                f"Expected the weights of {PACKAGE} in {weights}: {error}",
                hint="Install stlpips-pytorch 0.0.2 again.",
            ) from error

    @classmethod
    def installed(cls) -> LpipsDistance | None:
        """With the weights of the installed package, if there is one."""
        spec = find_spec(PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            return None
        return cls(Path(spec.submodule_search_locations[0]) / _WEIGHTS)

    @torch.no_grad()
    def __call__(self, truth: NDArray[np.uint8], pictures: NDArray[np.uint8]) -> float:
        """Mean distance of pairs of pictures `(V, H, W, 3)`; 0 for the same."""
        return float(np.mean([self._distance(*pair) for pair in zip(truth, pictures, strict=True)]))

    def _distance(self, *pair: NDArray[np.uint8]) -> float:
        weights, distance = self._weights, torch.zeros(())
        images = images_from_rgb(np.stack(pair))
        features = (images - weights["scaling_layer.shift"]) / weights["scaling_layer.scale"]
        for level, (name, padding) in enumerate(_LAYERS):
            if name in _BLURRED:
                features = self._halved(F.max_pool2d(features, 3, stride=1), _BLURRED[name])
            kernel, bias = (weights[f"net.{name}.{part}"] for part in ("weight", "bias"))
            features = F.conv2d(features, kernel, bias, padding=padding)
            features = F.relu(self._halved(features, "slice1.1") if level == 0 else features)
            first, second = F.normalize(features, dim=1, eps=1e-10)
            squares = (first - second).square()[None]
            distance += F.conv2d(squares, weights[f"lin{level}.model.1.weight"]).mean()
        return float(distance)

    def _halved(self, features: torch.Tensor, name: str) -> torch.Tensor:
        filters = self._weights[f"net.{name}.filt"]
        padded = F.pad(features, (2, 2, 2, 2), mode="reflect")
        return F.conv2d(padded, filters, stride=2, groups=len(filters))
