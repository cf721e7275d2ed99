# SPDX-License-Identifier: GPL-3.0-or-later
"""What the user asks of any training, and the command line that says it."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from ..contracts.errors import OptionError
from .run_folder import RunProgress


@dataclass(frozen=True, kw_only=True)
class TrainingOptions:
    """What the user asks of any training."""

    data: Path
    """Holds `renders` and `split.json`; every run has its folder in it."""
    minutes: float | None = None
    """Time of the whole run, sittings before a resumption included."""
    steps: int | None = None
    """Or its length in steps: then everything about it repeats exactly."""
    resume: bool = False
    """Go on from the saved state."""
    rigs_per_asset: int = 2
    """At most so many rigs of each object are read."""
    shard_data: bool = False
    """Each process reads only its share of the objects."""
    batch_size: int | None = None
    """Examples of a step, over all processes; None, here and below: the training's own."""
    learning_rate: float | None = None
    """Between warm-up and decay."""
    decay_fraction: float | None = None
    """Share of the run, at its end, in which the learning rate falls."""
    seed: int = 0
    threads: int = 2
    """Of each process on a CPU."""

    def __post_init__(self) -> None:
        if (self.minutes is None) == (self.steps is None):
            raise OptionError(
                "A training needs an end.", hint="Give either --minutes or --steps, not both."
            )

    def share_left(self, progress: RunProgress) -> float:
        """Of the whole run, 1 at its start and 0 at its end."""
        if self.steps is not None:
            return max(0.0, 1.0 - progress.step / self.steps)
        assert self.minutes is not None
        return max(0.0, 1.0 - progress.seconds / (60.0 * self.minutes))


def options_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """A parser for the fields of `TrainingOptions`; a command may add its own."""
    parser = argparse.ArgumentParser(prog=command, description=description)
    parser.add_argument("--data", type=Path, default=Path("out/training"), help="training data")
    parser.add_argument("--minutes", type=float, help="time of the whole run")
    parser.add_argument("--steps", type=int, help="its length in steps, in place of minutes")
    parser.add_argument("--resume", action="store_true", help="go on from the saved state")
    parser.add_argument("--rigs-per-asset", type=int, default=2, help="at most so many are read")
    parser.add_argument("--shard-data", action="store_true", help="each process reads its share")
    parser.add_argument("--batch-size", type=int, help="examples of a step, over all processes")
    parser.add_argument("--learning-rate", type=float, help="between warm-up and decay")
    parser.add_argument("--decay-fraction", type=float, help="share of the run in which it falls")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    return parser


def add_start_from(parser: argparse.ArgumentParser, description: str) -> None:
    """`--start-from PRESET_DIR`, for a training that can go on from a preset's weights."""
    parser.add_argument("--start-from", type=Path, metavar="PRESET_DIR", help=description)


def options_from(args: argparse.Namespace) -> TrainingOptions:
    """The parsed `TrainingOptions`, whatever else `args` holds.

    Sets the number of threads, and the seed that the weights of new networks follow from.
    """
    torch.set_num_threads(args.threads)
    torch.manual_seed(args.seed)
    names = [field.name for field in dataclasses.fields(TrainingOptions)]
    return TrainingOptions(**{name: getattr(args, name) for name in names})


def parse_options(command: str, description: str | None, argv: Sequence[str]) -> TrainingOptions:
    """The options of a command that has no others."""
    return options_from(options_parser(command, description).parse_args(argv))
