# SPDX-License-Identifier: GPL-3.0-or-later
"""Original checkpoints: read whole and safely, or refused; our own: saved and read again."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from one2345_blender.contracts.errors import CheckpointError
from one2345_blender.pipeline.reconstruction.checkpoint import load_original_checkpoint
from one2345_blender.pipeline.reconstruction.reconstructor import SparseNeuSReconstructor

CHECKPOINT = Path(__file__).parents[1] / "golden" / "original_reconstruction_seed0.pth"
KERNEL = "sparse_costreg_net.conv0.net.0.kernel"


@pytest.fixture(scope="module")
def reconstructor() -> SparseNeuSReconstructor:
    return SparseNeuSReconstructor()


def original() -> dict[str, Any]:
    return torch.load(CHECKPOINT, weights_only=True)  # noqa: TID251


def test_kernels_get_their_place(reconstructor: SparseNeuSReconstructor) -> None:
    load_original_checkpoint(reconstructor, CHECKPOINT)
    networks = original()["sdf_network_lod0"]
    dx, dy, dz = 1, 0, -1
    index = (dz + 1) * 9 + (dy + 1) * 3 + (dx + 1)
    kernel = networks[KERNEL][index]
    weight = reconstructor.unet3d.conv0.conv.weight[:, :, dx + 1, dy + 1, dz + 1]
    assert torch.equal(weight, kernel.T)
    kernel = networks["sparse_costreg_net.conv7.net.0.kernel"][index]
    weight = reconstructor.unet3d.conv7.conv.weight[:, :, dx + 1, dy + 1, dz + 1]
    assert torch.equal(weight, kernel)


def drop_module(checkpoint: dict[str, Any]) -> None:
    del checkpoint["rendering_network_lod0"]


def drop_tensor(checkpoint: dict[str, Any]) -> None:
    del checkpoint["pyramid_feature_network"]["smooth0.bias"]


def add_tensor(checkpoint: dict[str, Any]) -> None:
    checkpoint["sdf_network_lod0"]["second_thoughts"] = torch.zeros(1)


def add_module(checkpoint: dict[str, Any]) -> None:
    checkpoint["sdf_network_lod1"] = {}


def wrong_shape(checkpoint: dict[str, Any]) -> None:
    checkpoint["sdf_network_lod0"]["sdf_layer.lin0.bias"] = torch.zeros(64)


def wrong_kernel(checkpoint: dict[str, Any]) -> None:
    checkpoint["sdf_network_lod0"][KERNEL] = torch.zeros(8, 32, 16)


@pytest.mark.parametrize(
    ("damage", "named"),
    [
        (drop_module, "rendering_network_lod0"),
        (drop_tensor, "feature_net.smooth0.bias"),
        (add_tensor, "second_thoughts"),
        (add_module, "sdf_network_lod1"),
        (wrong_shape, r"\(128,\).*\(64,\)"),
        (wrong_kernel, r"\(27, C_in, C_out\).*\(8, 32, 16\)"),
    ],
)
def test_incomplete_checkpoints_are_refused(
    reconstructor: SparseNeuSReconstructor,
    tmp_path: Path,
    damage: Callable[[dict[str, Any]], None],
    named: str,
) -> None:
    checkpoint = original()
    damage(checkpoint)
    torch.save(checkpoint, tmp_path / "damaged.pth")
    with pytest.raises(CheckpointError, match=named) as caught:
        load_original_checkpoint(reconstructor, tmp_path / "damaged.pth")
    assert caught.value.hint


class Intruder:
    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, ("exit 1",)


def test_code_in_a_checkpoint_is_not_run(
    reconstructor: SparseNeuSReconstructor, tmp_path: Path
) -> None:
    torch.save(original() | {"optimizer": Intruder()}, tmp_path / "intruder.pth")
    with pytest.raises(CheckpointError, match="may carry code"):
        load_original_checkpoint(reconstructor, tmp_path / "intruder.pth")


@pytest.mark.parametrize(
    "content", [None, b"", b"not a checkpoint", CHECKPOINT.read_bytes()[:9999]]
)
def test_files_that_are_no_checkpoints(
    reconstructor: SparseNeuSReconstructor, tmp_path: Path, content: bytes | None
) -> None:
    path = tmp_path / "file.pth"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CheckpointError):
        load_original_checkpoint(reconstructor, path)


def test_a_kernel_without_measure_is_refused_before_it_is_copied(
    reconstructor: SparseNeuSReconstructor, tmp_path: Path
) -> None:
    """One number in the file, strides of 0: 27 petabytes if it were laid out."""
    checkpoint = original()
    huge = torch.zeros(1).as_strided((27, 10**7, 10**7), (0, 0, 0))
    checkpoint["sdf_network_lod0"][KERNEL] = huge
    torch.save(checkpoint, tmp_path / "huge.pth")
    assert (tmp_path / "huge.pth").stat().st_size < 10_000_000
    with pytest.raises(CheckpointError, match="expected shape"):
        load_original_checkpoint(reconstructor, tmp_path / "huge.pth")


def test_compressed_entries_are_refused(
    reconstructor: SparseNeuSReconstructor, tmp_path: Path
) -> None:
    with (
        zipfile.ZipFile(CHECKPOINT) as whole,
        zipfile.ZipFile(tmp_path / "packed.pth", "w", zipfile.ZIP_DEFLATED) as packed,
    ):
        for entry in whole.infolist():
            packed.writestr(entry.filename, whole.read(entry))
    with pytest.raises(CheckpointError, match="is compressed"):
        load_original_checkpoint(reconstructor, tmp_path / "packed.pth")


def test_half_precision_files_give_float32_networks(tmp_path: Path) -> None:
    saved = SparseNeuSReconstructor(image_size_px=32, volume_size=8, voxel_size=None).half()
    saved.save_pretrained(tmp_path)
    loaded = SparseNeuSReconstructor.from_pretrained(tmp_path)
    assert loaded.config["volume_size"] == 8
    weights = loaded.state_dict()
    assert all(torch.equal(value, weights[key].half()) for key, value in saved.named_parameters())
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
