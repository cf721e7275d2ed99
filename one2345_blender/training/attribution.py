# SPDX-License-Identifier: GPL-3.0-or-later
"""ATTRIBUTION.md: every model, its author, licence and source, as the licences ask."""

from __future__ import annotations

from pathlib import Path

from ..contracts.job_folder import atomic_write
from .libraries import Library
from .manifest import Asset, Manifest

_HEAD = """# 3D models behind the embedded weights

Written by `python -m one2345_blender.training assets`; do not edit.

The networks of the embedded preset were trained on pictures of the models below. Each model was
scaled, turned, lit and rendered to small pictures; neither the models nor the pictures are part of
this repository. `manifest.json` beside this file holds the same list for programs, the split of
every model, and the models that were left out with the reason.
"""


def write_attribution(manifest: Manifest, path: Path) -> None:
    """Write the attribution file of all models in the manifest."""
    sections = [_HEAD]
    for library in manifest.libraries:
        assets = [asset for asset in manifest.assets if asset.library == library.key]
        if assets:
            sections.append(_section(library, assets))
    with atomic_write(path) as file:
        file.write("\n".join(sections).encode())


def _section(library: Library, assets: list[Asset]) -> str:
    use = "Used for testing only, never for training." if library.test_split else ""
    head = (
        f"## {library.name}\n\n"
        f"Licence: [{library.licence}]({library.licence_url}). {library.credit}.\n"
        f"Source: {library.source}, file `{library.file_name}`. {use}".rstrip()
    )
    rows = [
        f"| {_cell(asset.name)} | `{_cell(asset.model)}` | {_cell(asset.author)} | {asset.split} |"
        for asset in assets
    ]
    return "\n".join(
        [head, "", "| name | model | author | split |", "| --- | --- | --- | --- |", *rows, ""]
    )


def _cell(text: str) -> str:
    return text.replace("|", "\\|")
