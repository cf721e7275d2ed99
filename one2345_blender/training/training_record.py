# SPDX-License-Identifier: GPL-3.0-or-later
"""What a preset's networks were trained for, kept in the preset: the runs' folders do not last."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..contracts.job_folder import atomic_write
from .run_folder import PROGRESS_NAME, read_log

RECORD_PATH = Path("data") / "trainings.json"
"""In the preset."""


@dataclass(frozen=True, kw_only=True)
class Training:
    """One run, from its start to its last saved state, or to the best one where that is kept."""

    run_id: str
    steps: int
    hours: float
    objects: int | None
    """Whose pictures were trained on; None: nobody counted."""


@dataclass(kw_only=True)
class TrainedNetwork:
    """All runs behind a network's present weights, and its last scores."""

    trainings: list[Training] = field(default_factory=list)
    scores: dict[str, Any] = field(default_factory=dict)
    """The newest value of each kind in the logs."""

    def add(self, run_dir: Path) -> None:
        """Note a run; it takes the place of those before unless it started from their weights."""
        log = read_log(run_dir)
        progress = json.loads((run_dir / PROGRESS_NAME).read_text(encoding="utf-8"))
        exported = [entry for entry in log if entry.get("exported")]
        end = exported[-1] if exported else progress
        training = Training(
            run_id=hashlib.sha256(json.dumps(log[0]).encode()).hexdigest()[:12],
            steps=end["step"],
            hours=round(end["seconds"] / 3600.0, 2),
            objects=progress.get("objects") or None,
        )
        goes_on = any(entry.get("started_from") for entry in log)
        before = [t for t in self.trainings if t.run_id != training.run_id] if goes_on else []
        self.trainings = [*before, training]
        for entry in exported or log:
            self.scores |= {key: entry[key] for key in SCORE_KEYS if entry.get(key) is not None}


SCORE_KEYS = ("scores", "psnr_db", "iou", "validation")
"""Under which trainings log what they validate."""


def read_record(preset_dir: Path) -> dict[str, TrainedNetwork]:
    """By the names of the runs; empty for a preset that is new."""
    path = preset_dir / RECORD_PATH
    if not path.is_file():
        return {}
    return {
        name: TrainedNetwork(
            trainings=[Training(**t) for t in entry["trainings"]], scores=entry["scores"]
        )
        for name, entry in json.loads(path.read_text(encoding="utf-8")).items()
    }


def write_record(preset_dir: Path, record: dict[str, TrainedNetwork]) -> None:
    """Replace the preset's record."""
    (preset_dir / RECORD_PATH).parent.mkdir(exist_ok=True)
    entries = {name: asdict(network) for name, network in record.items()}
    with atomic_write(preset_dir / RECORD_PATH) as file:
        file.write((json.dumps(entries, indent=1) + "\n").encode())
