# SPDX-License-Identifier: GPL-3.0-or-later
"""Where memory runs out: smaller batches, then one network at a time, then an error. Same views."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from tiny_preset import save_tiny_preset

from one2345_blender.contracts.errors import OutOfMemoryError
from one2345_blender.contracts.progress import StepDone, WarningRaised
from one2345_blender.pipeline.device_memory import free_bytes, is_out_of_memory
from one2345_blender.pipeline.memory_limit import memory_limited
from one2345_blender.pipeline.model_cache import load_pipeline
from one2345_blender.pipeline.pipeline_one2345 import One2345Pipeline
from one2345_blender.pipeline.process_memory import status_bytes
from one2345_blender.pipeline.zero123 import offloading
from one2345_blender.pipeline.zero123.offloading import (
    OFFLOADED,
    ORDER,
    is_offloaded,
    offload_networks,
    with_room_made,
)
from one2345_blender.pipeline.zero123.pipeline_zero123 import (
    PICTURES_AT_ONCE,
    Zero123Pipeline,
)
from one2345_blender.pipeline.zero123.view_batches import (
    BatchLimit,
    affordable_views,
    views_in_batches,
)

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


def test_offloaded_networks_are_on_the_device_one_at_a_time(pipeline, photo):
    """`cpu:0`, which computes as `cpu` does, stands for another device.

    Moves are written down, and the first parameter says where its network is, as on that device.
    """
    device = torch.device("cpu:0")
    there: set[str] = set()
    found: dict[str, set[str]] = {name: set() for name in ORDER}

    def observe(name: str, network: torch.nn.Module) -> None:
        parameters = list(network.parameters())

        def to(target: object) -> torch.nn.Module:
            (there.add if torch.device(target) == device else there.discard)(name)
            return network

        def placed_parameters(*_):
            first = parameters[0]
            at = device if name in there else CPU
            yield SimpleNamespace(
                device=at, dtype=first.dtype, is_floating_point=first.is_floating_point
            )
            yield from parameters[1:]

        network.to, network.parameters = to, placed_parameters
        for part in network.children():
            part.register_forward_pre_hook(lambda *_: found[name].update(there))

    for name in ORDER:
        observe(name, getattr(pipeline, name))
    offload_networks(pipeline, device)
    for _ in range(2):
        views_of(pipeline, photo, [])
    assert found == {name: {name} for name in ORDER}


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


def encoded_pictures(pipeline: One2345Pipeline) -> list[int]:
    """How many pictures the autoencoder encodes at a time, from now on."""
    counted: list[int] = []
    pipeline.vae.encoder.register_forward_pre_hook(lambda _, inputs: counted.append(len(inputs[0])))
    return counted


def test_a_part_of_a_batch_encodes_its_own_pictures_alone(pipeline, photo):
    """Eight views at a time of four pictures with four near views each: two pictures."""
    zero123, counted = pipeline.zero123, encoded_pictures(pipeline)
    near = zero123.takes_guess
    pictures = np.stack([np.full((32, 32, 3), 50 * i, np.uint8) for i in range(4)])
    views = views_in_batches(
        zero123,
        pictures,
        [0.0] * 16,
        [10.0] * 16,
        generators=[torch.Generator().manual_seed(i) for i in range(16)],
        guess_rgb=np.zeros((16, 32, 32, 3), np.uint8) if near else None,
        limit=BatchLimit(8),
        num_inference_steps=2,
        guidance_scale=2.0,
        on_step=lambda *_: None,
        on_event=lambda _: None,
    )
    assert len(views) == 16
    assert counted == ([2, 4, 4] * 2 if near else [2] * 2)


def test_pictures_are_encoded_as_few_at_a_time_as_they_are_decoded(pipeline):
    zero123, counted = pipeline.zero123, encoded_pictures(pipeline)
    images = torch.zeros(PICTURES_AT_ONCE + 1, 3, 32, 32)
    guess = torch.zeros(1, 3, 32, 32) if zero123.takes_guess else None
    with torch.no_grad():
        zero123.encode_condition(images, torch.zeros(1, 4), guess, image_of_view=[4])
    assert counted[:2] == [PICTURES_AT_ONCE, 1]


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


def test_networks_that_do_not_fit_while_they_move_take_turns(
    pipeline, device_beside_the_cpu, monkeypatch
):
    def run_out(*_) -> None:
        pipeline.vae.to(CPU)  # the first ones had room
        raise torch.OutOfMemoryError("Tried to allocate 20.00 MiB.")

    monkeypatch.setattr(offloading, "free_bytes", lambda _device: 10**15)
    monkeypatch.setattr(pipeline, "to", run_out)
    offloading.place_networks(pipeline, device_beside_the_cpu)
    assert is_offloaded(pipeline)
    assert {getattr(pipeline, name).device.type for name in ORDER} == {"cpu"}
    assert pipeline.reconstruction.device == pipeline.segmenter.device == device_beside_the_cpu


def test_other_errors_while_networks_move_are_no_lack_of_memory(
    pipeline, device_beside_the_cpu, monkeypatch
):
    def fail(*_) -> None:
        raise RuntimeError("No such device.")

    monkeypatch.setattr(offloading, "free_bytes", lambda _device: 10**15)
    monkeypatch.setattr(pipeline, "to", fail)
    with pytest.raises(RuntimeError, match="No such device"):
        offloading.place_networks(pipeline, device_beside_the_cpu)


@pytest.mark.skipif(sys.platform != "linux", reason="only there the CPU's memory can be limited")
def test_batches_follow_the_memory_limit(pipeline):
    unlimited = affordable_views(pipeline.zero123, 32)
    limit_gb = status_bytes("VmData") / 1e9 + 0.1
    with memory_limited(limit_gb, "cpu"):
        assert free_bytes(CPU) <= 100_000_000
        assert 1 <= affordable_views(pipeline.zero123, 32) < unlimited
    assert affordable_views(pipeline.zero123, 32) > 0.5 * unlimited


def test_the_memory_limit_of_a_cuda_device_counts(monkeypatch):
    """8 GB, of which others take 1, this process 3, one of it idle: numbers in place of a card."""
    gb = 10**9
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda _device: (4 * gb, 8 * gb))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda _device: 3 * gb)
    monkeypatch.setattr(torch.cuda, "memory_allocated", lambda _device: 2 * gb)
    for share, free_gb in ((1.0, 5), (0.5, 2), (0.125, 0)):
        monkeypatch.setattr(
            torch.cuda, "get_per_process_memory_fraction", lambda _device, share=share: share
        )
        assert free_bytes(torch.device("cuda")) == free_gb * gb


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
