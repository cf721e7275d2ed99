# SPDX-License-Identifier: GPL-3.0-or-later
"""Devices are what was asked for, or an error; the number format is what suits them."""

from __future__ import annotations

import pytest
import torch

from one2345_blender.contracts.errors import DeviceError
from one2345_blender.pipeline.devices import (
    available_devices,
    diffusion_dtype,
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
