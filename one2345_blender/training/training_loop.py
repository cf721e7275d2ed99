# SPDX-License-Identifier: GPL-3.0-or-later
"""The loop that all trainings share, on one process or, under `torchrun`, on many.

Everything random in a step follows from the run's seed, the step and the example's place in the
batch. So a resumed run goes on exactly as an uninterrupted one, and several processes that share
out a batch learn what one process learns from the whole of it.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast
from torch import Tensor, nn

from ..contracts.errors import OptionError
from .run_folder import RunFolder, RunProgress
from .training_options import TrainingOptions

LOG_EVERY_STEPS = 50
SAVE_EVERY_S = 300.0
WARM_UP_STEPS = 100
LOWEST_RATE = 0.02
MAX_AVERAGE_DECAY = 0.998
GRADIENT_NORM_LIMIT = 1.0


_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class Slot:
    """One example's place in a batch, with the random numbers that belong to it."""

    index: int
    batch_size: int
    rng: np.random.Generator


@dataclass(kw_only=True)
class _Due:
    """What is called now and then."""

    action: Callable[[], None]
    every_s: float
    last_s: float
    at_end: bool


class TrainingLoop:
    """Takes steps until the run is at its end; saves, logs, and calls what is due in between.

    Args:
        run: Where state and log go.
        objective: Its `forward` gives the losses of a batch by name; `loss` is minimised.
        optimizer: Of the objective's parameters.
        options: What the user asked for.
        batch_size: Examples of a step, over all processes, unless the user says.
        peak_rate: Learning rate between warm-up and decay, unless the user says.
        decay_fraction: Share of the run, at its end, in which the rate falls linearly to
            `LOWEST_RATE` of the peak, unless the user says.
        averaged: A copy of `objective`, kept as the running mean of its parameters.

    Raises:
        OptionError: The processes cannot share out the batch.
    """

    def __init__(
        self,
        run: RunFolder,
        objective: nn.Module,
        optimizer: torch.optim.Optimizer,
        options: TrainingOptions,
        *,
        batch_size: int,
        peak_rate: float,
        decay_fraction: float,
        averaged: nn.Module | None = None,
    ) -> None:
        self._accelerator = accelerator()
        batch_size = batch_size if options.batch_size is None else options.batch_size
        if batch_size % self._accelerator.num_processes:
            raise OptionError(
                f"{self._accelerator.num_processes} processes cannot share out a batch of "
                f"{batch_size}.",
                hint="Use a number of processes that divides it.",
            )
        self._run, self._options, self._batch_size = run, options, batch_size
        rate, fraction = options.learning_rate, options.decay_fraction
        self._peak_rate = peak_rate if rate is None else rate
        self._decay_fraction = decay_fraction if fraction is None else fraction
        self._modules = {"network": objective}
        if averaged is not None:
            self._modules["averaged"] = averaged.to(self._accelerator.device)
        self.progress = run.restore(self._modules, optimizer) if options.resume else RunProgress()
        if not options.resume and self.is_first:
            run.start_anew()
        self._objective, self._optimizer = self._accelerator.prepare(objective, optimizer)
        self._plain_optimizer = optimizer
        self._due: list[_Due] = []
        self.every(SAVE_EVERY_S, self.save)

    @property
    def is_first(self) -> bool:
        """Whether this is the process that writes and validates."""
        return bool(self._accelerator.is_main_process)

    def every(
        self,
        seconds: float,
        action: Callable[[], None],
        *,
        everywhere: bool = False,
        at_end: bool = False,
    ) -> None:
        """Call `action` whenever so much training time has passed; its own time does not count.

        Args:
            seconds: Of training.
            action: Called by the first process only, unless `everywhere`.
            everywhere: By every process.
            at_end: When the run is at its end, too.
        """
        if self.is_first or everywhere:
            due = _Due(action=action, every_s=seconds, last_s=self.progress.seconds, at_end=at_end)
            self._due.append(due)

    def saw(self, num_objects: int) -> None:
        """Note how many objects the examples come from; all processes call it together.

        Args:
            num_objects: Those that this process reads.
        """
        if self._options.shard_data:
            own = torch.tensor(num_objects, device=self._accelerator.device)
            num_objects = int(self._accelerator.reduce(own, "sum"))
        self.progress.objects = max(self.progress.objects, num_objects)

    def take_steps(self, draw: Callable[[list[Slot]], Any]) -> None:
        """Train to the end of the run, then save, and call what is due at the end.

        Args:
            draw: Makes this process's part of a batch, one example for each slot.
        """
        recent: list[dict[str, Tensor]] = []
        while self._options.share_left(self.progress) > 0.0:
            started = time.monotonic()
            rate = self._set_rate()
            recent.append(self._step(draw))
            self.progress.step += 1
            self.progress.images += self._batch_size
            self.progress.seconds += self._agreed(time.monotonic() - started)
            if self.progress.step % LOG_EVERY_STEPS == 0:
                self.log(**self._means(recent), learning_rate=rate)
                recent.clear()
            for due in self._due:
                if self.progress.seconds - due.last_s > due.every_s:
                    due.last_s = self.progress.seconds
                    due.action()
        self.save()
        for due in self._due:
            if due.at_end:
                due.action()

    def log(self, **entry: Any) -> None:
        """Append how far the run is, and `entry`, to its log."""
        if self.is_first:
            self._run.log(
                self.progress.step,
                images=self.progress.images,
                seconds=round(self.progress.seconds),
                **entry,
            )

    def save(self) -> None:
        """Replace the saved state by this one."""
        if self.is_first:
            self._run.save(self.progress, self._modules, self._plain_optimizer)

    def _step(self, draw: Callable[[list[Slot]], Any]) -> dict[str, Tensor]:
        accelerator, step = self._accelerator, self.progress.step
        own = range(accelerator.process_index, self._batch_size, accelerator.num_processes)
        slots = [
            Slot(index=index, batch_size=self._batch_size, rng=self._rng(index)) for index in own
        ]
        beside_the_slots = self._batch_size + accelerator.process_index
        torch.manual_seed(int(self._rng(beside_the_slots).integers(2**62)))
        self._objective.train()
        losses: dict[str, Tensor] = self._objective(on_device(draw(slots), accelerator.device))
        self._optimizer.zero_grad()
        accelerator.backward(losses["loss"])
        accelerator.clip_grad_norm_(self._objective.parameters(), GRADIENT_NORM_LIMIT)
        self._optimizer.step()
        if "averaged" in self._modules:
            average_weights(self._modules["averaged"], self._modules["network"], step)
        return {name: loss.detach() for name, loss in losses.items()}

    def _rng(self, index: int) -> np.random.Generator:
        """Random numbers of this step, others for each index."""
        return np.random.default_rng([self._options.seed, self.progress.step, index])

    def _set_rate(self) -> float:
        left = self._options.share_left(self.progress)
        warm = min(1.0, (self.progress.step + 1) / WARM_UP_STEPS)
        rate = self._peak_rate * warm * max(LOWEST_RATE, min(1.0, left / self._decay_fraction))
        for group in self._optimizer.param_groups:
            group["lr"] = rate
        return rate

    def _agreed(self, seconds: float) -> float:
        """The first process's clock: all must see the same end."""
        if self._accelerator.num_processes == 1:
            return seconds
        clock = torch.tensor([seconds], device=self._accelerator.device)
        return float(broadcast(clock))

    def _means(self, recent: list[dict[str, Tensor]]) -> dict[str, float]:
        """Over steps and processes."""
        means = {name: torch.stack([r[name] for r in recent]).mean() for name in recent[0]}
        return {
            name: round(float(self._accelerator.reduce(mean, "mean")), 4)
            for name, mean in means.items()
        }


def accelerator() -> Accelerator:
    """What this process trains on: its GPU, or the CPU where there is none."""
    return Accelerator(cpu=not torch.cuda.is_available())


def share_of(objects: list[_T], options: TrainingOptions) -> list[_T]:
    """The objects that this process reads."""
    return own_share(objects) if options.shard_data else objects


def own_share(objects: list[_T]) -> list[_T]:
    """This process's part, if all processes share them out."""
    state = accelerator()
    return objects[state.process_index :: state.num_processes]


def on_device(value: Any, device: torch.device) -> Any:
    """Tensors, and dataclasses, lists and tuples of them, on `device`."""
    if isinstance(value, Tensor):
        return value.to(device)
    if isinstance(value, list | tuple):
        return type(value)(on_device(item, device) for item in value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        fields = dataclasses.fields(value)
        return dataclasses.replace(
            value, **{f.name: on_device(getattr(value, f.name), device) for f in fields}
        )
    return value


@torch.no_grad()
def average_weights(averaged: nn.Module, network: nn.Module, step: int) -> None:
    """Move `averaged` towards `network`: an exponential mean, quicker in the first steps."""
    decay = min(MAX_AVERAGE_DECAY, (step + 1) / (step + 10))
    torch._foreach_lerp_(
        list(averaged.parameters()), list(network.parameters()), weight=1.0 - decay
    )
