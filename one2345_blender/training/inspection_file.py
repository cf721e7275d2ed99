# SPDX-License-Identifier: GPL-3.0-or-later
"""What was found out about models, one line each: looking at thousands can be interrupted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TextIO

from .assets import Candidate, Inspection


def inspection_key(candidate: Candidate) -> str:
    """Of everything that its library says of the model: another size is another model."""
    digest = hashlib.sha256(repr(candidate.entry).encode()).hexdigest()
    return f"{candidate.asset_id} {digest[:16]}"


def append_inspection(file: TextIO, key: str, inspection: Inspection | str) -> None:
    """Add one line."""
    found = inspection if isinstance(inspection, str) else asdict(inspection)
    file.write("\n" + json.dumps({"key": key, "found": found}))
    file.flush()


def read_inspections(path: Path) -> dict[str, Inspection | str]:
    """By key; none where there is no file yet. A line that was cut off counts as not there."""
    found: dict[str, Inspection | str] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else []:
        try:
            row = json.loads(line)
        except ValueError:
            continue
        value = row["found"]
        found[row["key"]] = value if isinstance(value, str) else Inspection(**value)
    return found
