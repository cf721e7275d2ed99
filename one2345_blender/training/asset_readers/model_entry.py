# SPDX-License-Identifier: GPL-3.0-or-later
"""What every library says of a model before anybody looked at it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One model of a library; each reader adds what it needs to load it."""

    name: str
    creator: str
    category: str
    model_path: str
    """Member of the archive."""
    licence: str | None = None
    """SPDX expression, where it is not the same for the whole archive."""

    @property
    def slug(self) -> str:
        """Lower-case letters, digits and dashes; tells the models of a library apart."""
        return slug_of(PurePosixPath(self.model_path).stem)


def slug_of(text: str) -> str:
    """Lower-case letters, digits and single dashes."""
    return re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
