# SPDX-License-Identifier: GPL-3.0-or-later
"""Where the weights of presets lie, whether they are there or not."""

from __future__ import annotations

import os
from pathlib import Path

PRESETS_VARIABLE = "ONE2345_PRESETS"
_PACKAGED = Path(__file__).parents[1] / "pipeline" / "presets"


def packaged_preset(preset: str) -> Path:
    """The folder of a preset that ships with the package."""
    return _PACKAGED / preset


def user_presets_folder() -> Path:
    """Folder of the presets that the user fetched: `ONE2345_PRESETS`, else in the home folder."""
    configured = os.environ.get(PRESETS_VARIABLE)
    return Path(configured) if configured else Path.home() / ".one2345" / "presets"
