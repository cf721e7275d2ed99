# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices are what was asked for, or an error; the number format is what suits them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch

from one2345_blender.contracts.errors import DeviceError
from one2345_blender.pipeline import model_cache
from one2345_blender.pipeline.devices import (
    available_devices,
    diffusion_dtype,
    prepare_device,
    resolve_device,
)


def test_auto_is_the_first_of_the_available() -> None:
    available = available_devices()
    assert available[-1] == "cpu"
    assert resolve_device("auto") == torch.device(available[0])
    assert resolve_device("cpu") == torch.device("cpu")


def test_a_device_that_is_not_there_is_an_error() -> None:
    absent = next(name for name in ("mps", "xpu", "cuda") if name not in available_devices())
    with pytest.raises(DeviceError, match=absent) as caught:
        resolve_device(absent)
    assert "cpu" in caught.value.message and caught.value.hint


@pytest.mark.parametrize(
    ("capability", "dtype"), [((6, 1), torch.float32), ((7, 0), torch.float16)]
)
def test_half_precision_where_the_card_is_fast_in_it(
    monkeypatch: pytest.MonkeyPatch, capability: tuple[int, int], dtype: torch.dtype
) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: capability)
    assert diffusion_dtype(torch.device("cuda")) is dtype


def test_other_devices_number_formats() -> None:
    assert diffusion_dtype(torch.device("cpu")) is torch.float32
    assert diffusion_dtype(torch.device("mps")) is torch.float16


FLAGS = (
    (torch.backends.cudnn, "allow_tf32"),
    (torch.backends.cuda.matmul, "allow_tf32"),
    (torch.backends.cudnn, "benchmark"),
    (torch.backends.cudnn, "deterministic"),
)


@pytest.fixture
def flags() -> Iterator[Callable[[], tuple[bool, ...]]]:
    """PyTorch's own defaults, but for `benchmark`: TF32 in convolutions, sums in any order."""
    before = [getattr(*flag) for flag in FLAGS]
    for flag, value in zip(FLAGS, (True, True, True, False), strict=True):
        setattr(*flag, value)
    yield lambda: tuple(getattr(*flag) for flag in FLAGS)
    for flag, value in zip(FLAGS, before, strict=True):
        setattr(*flag, value)


def test_float32_is_float32_on_cuda_and_the_seed_decides(
    flags: Callable[[], tuple[bool, ...]],
) -> None:
    prepare_device(torch.device("cpu"))
    assert flags() == (True, True, True, False)
    prepare_device(torch.device("cuda"))
    assert flags() == (False, False, False, True)


def test_networks_are_loaded_for_a_device_that_was_prepared(
    tiny_preset: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared: list[torch.device] = []
    monkeypatch.setattr(model_cache, "prepare_device", prepared.append)
    model_cache.load_pipeline(tiny_preset, torch.device("cpu"))
    assert prepared == [torch.device("cpu")]
