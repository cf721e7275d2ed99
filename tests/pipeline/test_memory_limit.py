# SPDX-License-Identifier: GPL-3.0-or-later
"""A limit to a job's memory: beyond it is an error, and afterwards everything is as before."""

import sys

import pytest
import torch
from PIL import Image

from one2345_blender.contracts.errors import DeviceError, OptionError, OutOfMemoryError
from one2345_blender.contracts.job import JobSpec
from one2345_blender.pipeline.convert import convert_image
from one2345_blender.pipeline.devices import available_devices
from one2345_blender.pipeline.job_record import memory_errors_named
from one2345_blender.pipeline.memory_limit import memory_limited
from one2345_blender.pipeline.model_cache import ModelCache
from one2345_blender.pipeline.process_memory import status_bytes

GB_OF_FLOATS = 250_000_000
on_linux = pytest.mark.skipif(sys.platform != "linux", reason="RLIMIT_DATA as Linux counts it")


def limits():
    import resource

    return resource.getrlimit(resource.RLIMIT_DATA)


@on_linux
def test_what_goes_beyond_the_limit_is_a_memory_error():
    before = limits()
    one_more_gb = status_bytes("VmData") / 1e9 + 1.0
    with (
        pytest.raises(OutOfMemoryError, match="Memory ran out") as caught,
        memory_errors_named(),
        memory_limited(one_more_gb, "cpu"),
    ):
        torch.empty(2 * GB_OF_FLOATS)
    assert "memory limit" in caught.value.hint
    assert limits() == before
    torch.empty(2 * GB_OF_FLOATS)
    with memory_limited(one_more_gb, "cpu"):
        assert torch.zeros(16).sum() == 0.0


@on_linux
def test_a_limit_that_is_passed_before_the_job_begins_says_so(tiny_preset, tmp_path):
    Image.new("RGBA", (64, 64), "red").save(tmp_path / "red.png")
    spec = JobSpec(
        job_id="job",
        image_path=tmp_path / "red.png",
        output_dir=tmp_path / "out",
        preset=str(tiny_preset),
        device="cpu",
        memory_limit_gb=0.1,
    )
    with pytest.raises(OutOfMemoryError, match=r"limit is 0\.1 GB, and .* taken before"):
        convert_image(spec, models=ModelCache())


def test_systems_that_cannot_limit_say_so(monkeypatch):
    monkeypatch.setattr("one2345_blender.pipeline.memory_limit.sys.platform", "darwin")
    with pytest.raises(OptionError, match="darwin"), memory_limited(1.0, "cpu"):
        pass
    with memory_limited(None, "cpu"):
        pass


def test_a_limit_of_a_device_that_is_not_there():
    (absent, *_) = {"cuda", "mps", "xpu"} - set(available_devices())
    with pytest.raises(DeviceError), memory_limited(1.0, absent):
        pass


@pytest.mark.gpu
def test_a_gpu_s_memory_is_limited():
    with pytest.raises(OutOfMemoryError), memory_errors_named(), memory_limited(0.5, "cuda"):
        torch.zeros(GB_OF_FLOATS, device="cuda")
    torch.zeros(GB_OF_FLOATS, device="cuda")
