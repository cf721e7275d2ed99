# SPDX-License-Identifier: GPL-3.0-or-later
"""Where memory runs out: smaller batches, then one network at a time, then an error. Same views."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from tiny_preset import save_tiny_preset

from one2345_blender.contracts.errors import OutOfMemoryError
from one2345_blender.contracts.progress import StepDone, WarningRaised
from one2345_blender.pipeline.device_memory import free_bytes, is_out_of_memory
from one2345_blender.pipeline.model_cache import load_pipeline
from one2345_blender.pipeline.pipeline_one2345 import One2345Pipeline
from one2345_blender.pipeline.zero123.offloading import (
    OFFLOADED,
    ORDER,
    is_offloaded,
    offload_networks,
    with_room_made,
)
from one2345_blender.pipeline.zero123.pipeline_zero123 import Zero123Pipeline
from one2345_blender.pipeline.zero123.view_batches import affordable_views

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    return save_tiny_preset(tmp_path_factory.mktemp("scarce") / "preset")


@pytest.fixture
def pipeline(preset) -> One2345Pipeline:
    return load_pipeline(preset, CPU)


@pytest.fixture(scope="module")
def photo() -> np.ndarray:
    rgba = np.zeros((48, 48, 4), np.uint8)
    rgba[12:36, 12:36] = (200, 80, 40, 255)
    return rgba


@contextmanager
def memory_for(pipeline: One2345Pipeline, num_views: int) -> Iterator[None]:
    """The UNet fails as on a full device when it is given more views, guidance's own included."""

    def fail(_: torch.nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        if len(inputs[0]) > 2 * num_views:
            raise torch.OutOfMemoryError("Tried to allocate 20.00 MiB.")

    handle = pipeline.unet.register_forward_pre_hook(fail)
    try:
        yield
    finally:
        handle.remove()


def views_of(pipeline: One2345Pipeline, photo: np.ndarray, events: list) -> np.ndarray:
    two_stages = pipeline.two_stages(pipeline.prepare(photo), seed=3, on_event=events.append)
    with torch.no_grad():
        views, _ = pipeline.synthesise(two_stages, 20.0)
    return views.rgb


def warnings_in(events: list) -> list[WarningRaised]:
    return [event for event in events if isinstance(event, WarningRaised)]


@pytest.mark.parametrize("num_views", [5, 1])
def test_smaller_batches_give_the_same_views_and_say_so(pipeline, photo, num_views):
    events: list = []
    whole = views_of(pipeline, photo, events)
    assert not warnings_in(events)
    events.clear()
    with memory_for(pipeline, num_views):
        parts = views_of(pipeline, photo, events)
    assert np.abs(whole.astype(int) - parts).max() <= 1
    assert [w.code for w in warnings_in(events)] == ["memory_smaller_batches"] * 2
    sizes = [int(word) for word in re.findall(r"\d+", warnings_in(events)[-1].message)]
    assert sizes == ([8, 4] if num_views == 5 else [2, 1])
    for stage in ("views_stage1", "views_stage2"):
        steps = [e for e in events if isinstance(e, StepDone) and e.stage == stage]
        assert [e.step for e in steps] == sorted(e.step for e in steps)
        assert steps[-1].step == steps[-1].steps


def test_no_room_for_one_view_is_an_error_that_says_what_would_help(pipeline, photo):
    events: list = []
    with (
        memory_for(pipeline, 0),
        pytest.raises(OutOfMemoryError, match="one view at a time") as caught,
    ):
        views_of(pipeline, photo, events)
    assert "Close other programs" in caught.value.hint
    assert [w.code for w in warnings_in(events)] == ["memory_smaller_batches"] * 2


def test_other_errors_are_not_taken_for_a_lack_of_memory(pipeline, photo):
    def fail(*_):
        raise RuntimeError("Expected all tensors to be on the same device.")

    events: list = []
    handle = pipeline.unet.register_forward_pre_hook(fail)
    with pytest.raises(RuntimeError, match="same device"):
        views_of(pipeline, photo, events)
    handle.remove()
    assert not warnings_in(events)


def test_offloaded_networks_give_the_same_views_and_every_conversion_says_so(pipeline, photo):
    whole = views_of(pipeline, photo, [])
    offload_networks(pipeline, CPU)
    assert is_offloaded(pipeline) and is_offloaded(pipeline.zero123)
    for _ in range(2):
        events: list = []
        np.testing.assert_array_equal(views_of(pipeline, photo, events), whole)
        assert warnings_in(events) == [OFFLOADED]


def test_offloaded_networks_wait_in_the_computers_memory(pipeline):
    offload_networks(pipeline, torch.device("meta"))
    assert {getattr(pipeline, name).device.type for name in ORDER} == {"cpu"}
    assert pipeline.zero123._execution_device.type == "meta"


def test_work_begins_again_only_where_offloading_makes_room(pipeline):
    def work() -> None:
        raise torch.OutOfMemoryError("Tried to allocate 20.00 MiB.")

    events: list = []
    with pytest.raises(torch.OutOfMemoryError):
        with_room_made(pipeline, work, events.append)
    assert not events and not is_offloaded(pipeline)


@pytest.fixture
def device_beside_the_cpu(monkeypatch: pytest.MonkeyPatch) -> torch.device:
    """`meta`, which holds shapes alone, stands for a device to send networks to."""
    meta = torch.device("meta")
    monkeypatch.setattr(Zero123Pipeline, "_execution_device", meta)
    monkeypatch.setattr(One2345Pipeline, "device", meta)
    monkeypatch.setattr(torch, "get_device_module", lambda _device: torch.cuda)
    return meta


def test_the_ladder_ends_with_one_view_and_one_network_at_a_time(
    pipeline, photo, device_beside_the_cpu
):
    failed_on = []

    def fail(encoder: torch.nn.Module, _: object) -> None:
        failed_on.append(next(encoder.parameters()).device)
        raise torch.OutOfMemoryError("Tried to allocate 20.00 MiB.")

    pipeline.vae.encoder.register_forward_pre_hook(fail)
    events: list = []
    with pytest.raises(OutOfMemoryError, match="one network at a time") as caught:
        views_of(pipeline, photo, events)
    assert "choose the device `cpu`" in caught.value.hint
    codes = [warning.code for warning in warnings_in(events)]
    assert codes == ["memory_smaller_batches"] * 2 + [OFFLOADED.code]
    assert failed_on == [torch.device("cpu")] * 3 + [device_beside_the_cpu]


def test_the_reconstruction_begins_again_when_the_networks_have_left(
    pipeline, device_beside_the_cpu
):
    attempts = 0

    def work() -> int:
        nonlocal attempts
        attempts += 1
        if not is_offloaded(pipeline):
            raise torch.OutOfMemoryError("Tried to allocate 20.00 MiB.")
        return attempts

    events: list = []
    assert with_room_made(pipeline, work, events.append) == 2
    assert events == [OFFLOADED]


def test_batches_follow_what_is_free(pipeline):
    zero123 = pipeline.zero123
    small = affordable_views(zero123, 32)
    assert small > 16
    assert affordable_views(zero123, 32 * 1000) < small
    assert affordable_views(zero123, 10**9) == 1
    assert free_bytes(CPU) > 0


def test_errors_that_mean_a_lack_of_memory():
    assert is_out_of_memory(torch.OutOfMemoryError("CUDA out of memory."))
    assert is_out_of_memory(MemoryError())
    assert is_out_of_memory(RuntimeError("DefaultCPUAllocator: can't allocate memory"))
    assert not is_out_of_memory(RuntimeError("shapes do not match"))


@pytest.mark.gpu
def test_on_a_gpu_the_ladder_ends_with_offloading(preset, photo):
    pipeline = load_pipeline(preset, torch.device("cuda"))
    whole = views_of(pipeline, photo, [])
    failures = 6

    def fail_at_first(*_) -> None:
        nonlocal failures
        if failures:
            failures -= 1
            raise torch.OutOfMemoryError("Tried to allocate 20.00 MiB.")

    handle = pipeline.unet.register_forward_pre_hook(fail_at_first)
    events: list = []
    with pytest.raises(OutOfMemoryError, match="one network at a time"):
        views_of(pipeline, photo, events)
    assert warnings_in(events)[-1] == OFFLOADED
    views = views_of(pipeline, photo, events)
    handle.remove()
    assert np.abs(whole.astype(int) - views).max() <= 2
