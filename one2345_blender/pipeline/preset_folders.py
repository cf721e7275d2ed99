# SPDX-License-Identifier: GPL-3.0-or-later
"""Where a preset's weights lie: in the package, the user's folder, or where the user says."""

from __future__ import annotations

from pathlib import Path

from ..contracts.errors import CheckpointError, OptionError
from ..contracts.job import PRESETS
from ..contracts.preset_location import (
    PRESETS_VARIABLE,
    packaged_preset,
    user_presets_folder,
)

MODEL_INDEX = "model_index.json"


def preset_folder(preset: str) -> Path:
    """The folder with the `model_index.json` of a preset.

    Args:
        preset: One of `PRESETS`, or the path of a folder.

    Raises:
        OptionError: Neither a known name nor a folder.
        CheckpointError: The preset is known, but its weights are not on this machine.
    """
    if preset == "embedded":
        return _complete(packaged_preset(preset), preset, "Install the add-on again.")
    if preset in PRESETS:
        folder = user_presets_folder() / preset
        return _complete(
            folder,
            preset,
            "Get Weights… in the extension's preferences fetches and prepares them; so does "
            f"`download {preset}`, and `import-checkpoint FILE --output {folder}` prepares files "
            f"that you have. Or set {PRESETS_VARIABLE} to the folder that holds the preset. The "
            "preset `embedded` needs no download.",
        )
    if Path(preset).is_dir():
        return _complete(Path(preset), preset, "Choose a folder in the diffusers layout.")
    raise OptionError(
        f"preset: expected one of {', '.join(PRESETS)} or a folder with weights, got {preset!r}.",
        hint="Choose one of the presets by name.",
    )


def _complete(folder: Path, preset: str, hint: str) -> Path:
    if not (folder / MODEL_INDEX).is_file():
        raise CheckpointError(
            f"The weights of preset {preset!r} are not on this machine: expected "
            f"{folder / MODEL_INDEX}.",
            hint=hint,
        )
    return folder
