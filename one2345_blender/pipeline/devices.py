# SPDX-License-Identifier: GPL-3.0-or-later
"""Which device and number format the models run in: as asked, or an error. Never a silent other."""

from __future__ import annotations

import torch

from ..contracts.errors import DeviceError

_BACKENDS = ("cuda", "mps", "xpu")
FAST_HALF_CAPABILITY = (7, 0)
"""CUDA compute capability from which on there are units for half precision (Volta)."""


def available_devices() -> list[str]:
    """Devices of this machine that torch can use, the fastest first; always ends with `cpu`."""
    return [name for name in _BACKENDS if _is_available(name)] + ["cpu"]


def resolve_device(name: str) -> torch.device:
    """The device called `name`; `auto` is the first of `available_devices`.

    Raises:
        DeviceError: This torch cannot use the device that was asked for.
    """
    available = available_devices()
    if name == "auto":
        return torch.device(available[0])
    if name not in available:
        raise DeviceError(
            f"Device {name!r} was asked for, but torch {torch.__version__} can use only "
            f"{', '.join(available)} here.",
            hint="Choose another device, or install the torch build for this one.",
        )
    return torch.device(name)


def prepare_device(device: torch.device) -> None:
    """Let float32 be float32 on CUDA, and the same seed give the same numbers.

    PyTorch lets cuDNN round the inputs of float32 convolutions to the 10 bits of TF32 by default,
    and choose algorithms that add up in any order.
    """
    if device.type == "cuda":
        torch.backends.cudnn.allow_tf32 = False
        torch.backends.cuda.matmul.allow_tf32 = False
        torch.backends.cudnn.benchmark = False
        torch.backends.cudnn.deterministic = True


def diffusion_dtype(device: torch.device) -> torch.dtype:
    """float16, which the original used, where the device computes in it faster; else float32.

    A CPU does not, nor does a CUDA device older than `FAST_HALF_CAPABILITY`. The reconstruction is
    float32 everywhere, as in the original (`prepare_device`). Reports name the format.

    bfloat16 is nowhere used: the CUDA devices that have it are as fast in float16, whose rounding
    is 8 times finer; a CPU that has it would take half the time, but float32 is what parity is
    stated for. `mps` and `xpu` get float16 without being asked, as PyTorch tells nothing like
    CUDA's capability of them: Apple's and Intel's GPUs have instructions for it, but nobody has
    run the published networks on either.
    """
    if device.type == "cpu":
        return torch.float32
    if device.type == "cuda" and torch.cuda.get_device_capability(device) < FAST_HALF_CAPABILITY:
        return torch.float32
    return torch.float16


def format_name(dtype: torch.dtype) -> str:
    """What reports call a number format: `float16`."""
    return str(dtype).removeprefix("torch.")


def _is_available(name: str) -> bool:
    if name == "mps":
        return torch.backends.mps.is_available()
    backend = getattr(torch, name, None)
    return backend is not None and backend.is_available()
