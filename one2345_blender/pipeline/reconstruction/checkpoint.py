# SPDX-License-Identifier: GPL-3.0-or-later
"""Reads the original's `.pth` checkpoint into a `SparseNeuSReconstructor`, safely and completely.

Layout: a dict of state dicts (specification, checkpoint_manifest). Sparse convolution kernels are
(27,C_in,C_out) with x fastest; they become dense (C_out,C_in,X,Y,Z), or (C_in,C_out,X,Y,Z) where
transposed.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from ...contracts.errors import CheckpointError
from ..checkpoint_file import read_checkpoint_file
from .reconstructor import SparseNeuSReconstructor

MODULES = {
    "pyramid_feature_network": "feature_net",
    "sdf_network_lod0": "",
    "rendering_network_lod0": "color_network",
}
UNUSED = frozenset({"variance_network_lod0", "optimizer", "iter_step", "val_step"})
"""Top-level entries that the mesh does not depend on."""

RENAMES = (
    (r"^compress_layer\.", "cost_volume.compress."),
    (r"^sparse_costreg_net\.(conv\d+)\.net\.0\.kernel$", r"unet3d.\1.conv.weight"),
    (r"^sparse_costreg_net\.(conv\d+)\.net\.1\.", r"unet3d.\1.norm."),
    (r"^sdf_layer\.", "sdf_network."),
    (r"^(feature_net\.conv\d\.\d|cost_volume\.compress)\.bn\.", r"\1.norm."),
)
TRANSPOSED = re.compile(r"^unet3d\.conv(7|9|11)\.conv\.weight$")
OPTIONAL_SUFFIX = ".num_batches_tracked"
HINT = "Use the original reconstruction checkpoint (ckpt_215000.pth), or download it again."


def load_original_checkpoint(reconstructor: SparseNeuSReconstructor, path: Path) -> None:
    """Load the weights of an original `.pth` file in place.

    Raises:
        CheckpointError: the file is missing or damaged, carries code, or a tensor is missing,
            surplus or of another shape.
    """
    source = read_checkpoint_file(path, hint=HINT)
    expected = {key: value.shape for key, value in reconstructor.state_dict().items()}
    weights = _convert(source, path.name)
    required = {key for key in expected if not key.endswith(OPTIONAL_SUFFIX)}
    if missing := sorted(required - weights.keys()):
        raise CheckpointError(
            f"{path.name}: expected {len(required)} tensors, {len(missing)} are missing, "
            f"the first for {missing[0]}.",
            hint=HINT,
        )
    if surplus := sorted(weights.keys() - expected.keys()):
        raise CheckpointError(
            f"{path.name}: {len(surplus)} tensors have no place in the network, "
            f"the first is {surplus[0]}.",
            hint=HINT,
        )
    for key, value in weights.items():
        if value.shape != expected[key]:
            raise CheckpointError(
                f"{path.name}: expected shape {tuple(expected[key])} for {key}, "
                f"got {tuple(value.shape)}.",
                hint=HINT,
            )
    reconstructor.load_state_dict(weights, strict=False)


def _convert(checkpoint: Mapping[str, Any], file_name: str) -> dict[str, Tensor]:
    """Original names and layouts -> ours; the file's name is for errors."""
    if missing := sorted(MODULES.keys() - checkpoint.keys()):
        raise CheckpointError(
            f"{file_name}: expected the entry {missing[0]!r}, it is missing.", hint=HINT
        )
    if surplus := sorted(checkpoint.keys() - MODULES.keys() - UNUSED):
        raise CheckpointError(f"{file_name}: unknown entry {surplus[0]!r}.", hint=HINT)
    weights = {}
    for module, prefix in MODULES.items():
        if not isinstance(checkpoint[module], Mapping):
            raise CheckpointError(
                f"{file_name}: expected tensors by name in {module!r}, "
                f"got {type(checkpoint[module]).__name__}.",
                hint=HINT,
            )
        for key, value in checkpoint[module].items():
            name = f"{prefix}.{key}" if prefix else key
            for pattern, replacement in RENAMES:
                name = re.sub(pattern, replacement, name)
            weights[name] = _dense_kernel(name, value) if key.endswith(".kernel") else value
    return weights


def _dense_kernel(name: str, kernel: Tensor) -> Tensor:
    """(27,C_in,C_out), x fastest -> a dense convolution's weight, as a view: what is copied has
    been found to be of the right shape.
    """
    if kernel.ndim != 3 or kernel.shape[0] != 27:
        raise CheckpointError(
            f"Expected shape (27, C_in, C_out) for the kernel of {name}, "
            f"got {tuple(kernel.shape)}.",
            hint=HINT,
        )
    zyxio = kernel.unflatten(0, (3, 3, 3))
    order = (3, 4, 2, 1, 0) if TRANSPOSED.match(name) else (4, 3, 2, 1, 0)
    return zyxio.permute(order)
