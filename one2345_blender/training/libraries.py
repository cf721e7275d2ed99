# SPDX-License-Identifier: GPL-3.0-or-later
"""The published model libraries, their licences and their rights holders."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

from .asset_readers.listed_files import read_entries
from .asset_readers.model_entry import slug_of


@dataclass(frozen=True, kw_only=True)
class Library:
    """One archive of models under one licence."""

    key: str
    """Prefix of its models' identifiers."""
    file_name: str
    name: str
    licence: str
    """SPDX expression."""
    licence_url: str
    credit: str
    """Whom its licence asks to name."""
    source: str
    """Debian package or Python wheel, and version of the library."""
    reader: str = "furniture"
    """One of `model_readers.READERS`."""
    test_split: str | None = None
    """The part of the data that all its models belong to; None: they are trained on."""
    gives_validation: bool = True
    """Whether validation objects are drawn from it; adding a library must not change which."""
    has_scattered_props: bool = False
    """Whether some of its models are things that stand around another one."""

    @property
    def licence_family(self) -> str:
        """The licence without its version: `CC0`, `CC-BY`, `CC-BY-SA`, ..."""
        return re.sub(r"-\d.*", "", self.licence)


_FURNITURE = "sweethome3d-furniture, libraries 1.8 (www.sweethome3d.com)"

TRAINING_LICENCES = ("CC0", "CC-BY", "CC-BY-SA")
"""Families under which models may be trained on."""

LIBRARIES = (
    Library(
        key="blendswap-cc0",
        file_name="BlendSwap-CC-0.sh3f",
        name="Blend Swap CC-0",
        licence="CC0-1.0",
        licence_url="https://creativecommons.org/publicdomain/zero/1.0/",
        credit="contributors of www.blendswap.com; converted by Emmanuel Puybaret / eTeks",
        source=_FURNITURE,
    ),
    Library(
        key="blendswap-ccby",
        file_name="BlendSwap-CC-BY.sh3f",
        name="Blend Swap CC-BY",
        licence="CC-BY-3.0",
        licence_url="https://creativecommons.org/licenses/by/3.0/",
        credit="contributors of www.blendswap.com; converted by Emmanuel Puybaret / eTeks",
        source=_FURNITURE,
    ),
    Library(
        key="katorlegaz",
        file_name="KatorLegaz.sh3f",
        name="Kator Legaz",
        licence="CC-BY-3.0-US",
        licence_url="https://creativecommons.org/licenses/by/3.0/us/",
        credit="Copyright 2003-2008 Andrew Kator & Jennifer Legaz",
        source=_FURNITURE,
    ),
    Library(
        key="reallusion",
        file_name="Reallusion.sh3f",
        name="Reallusion",
        licence="CC-BY-3.0-US",
        licence_url="https://creativecommons.org/licenses/by/3.0/us/",
        credit="Copyright 2008-2016 Reallusion (http://www.reallusion.com)",
        source=_FURNITURE,
    ),
    Library(
        key="scopia",
        file_name="Scopia.sh3f",
        name="Scopia",
        licence="CC-BY-3.0",
        licence_url="https://creativecommons.org/licenses/by/3.0/",
        credit=(
            "Copyright 2014-2020 Emmanuel Puybaret / eTeks and 2006-2020 Scopia Visual Interfaces "
            "Systems, s.l. (http://www.scopia.es)"
        ),
        source=_FURNITURE,
    ),
    Library(
        key="eteks",
        file_name="sweethome3d.jar",
        name="Sweet Home 3D's own catalogue",
        licence="GPL-2.0-or-later OR CC-BY-3.0",
        licence_url="https://creativecommons.org/licenses/by/3.0/",
        credit="Copyright 2006-2021 Emmanuel Puybaret / eTeks",
        source="sweethome3d 7.0.2, catalogue 6.5 (www.sweethome3d.com)",
        test_split="near_test",
    ),
    Library(
        key="0ad",
        file_name="0ad-public.zip",
        name="0 A.D.",
        licence="CC-BY-SA-3.0",
        licence_url="https://creativecommons.org/licenses/by-sa/3.0/",
        credit=(
            "Copyright 2009-2022 Wildfire Games (https://www.wildfiregames.com/); some textures "
            "are derived, by permission, from materials of CGTextures (http://www.cgtextures.com/)"
        ),
        source="0ad-data 0.0.26 (https://play0ad.com/)",
        reader="0ad",
        gives_validation=False,
        has_scattered_props=True,
    ),
    Library(
        key="miniworld",
        file_name="miniworld-2.1.0-py3-none-any.whl",
        name="Miniworld",
        licence="Apache-2.0",
        licence_url="https://www.apache.org/licenses/LICENSE-2.0",
        credit="Farama Foundation and contributors",
        source="Python package miniworld 2.1.0 (https://github.com/Farama-Foundation/Miniworld)",
        reader="wheel",
        test_split="far_test",
    ),
    Library(
        key="robosuite",
        file_name="robosuite-1.5.2-py3-none-any.whl",
        name="robosuite",
        licence="MIT",
        licence_url="https://opensource.org/license/mit",
        credit=(
            "Copyright 2022 Stanford Vision and Learning Lab and UT Robot Perception and Learning "
            "Lab"
        ),
        source="Python package robosuite 1.5.2 (https://robosuite.ai)",
        reader="wheel",
        test_split="far_test",
    ),
)
"""In order of precedence: of two equal shapes the first is kept."""


def listed_libraries(path: Path) -> tuple[Library, ...]:
    """The model files of a list, as one library for each licence in it.

    Args:
        path: See `asset_readers.listed_files`; `assets` and `renders` expect it in their folder of
            packages.

    Raises:
        ModelFileError: The list cannot be read or is not whole.
    """
    licences = dict.fromkeys(str(entry.licence) for entry in read_entries(path))
    return tuple(
        Library(
            key=slug_of(f"{path.stem} {licence}"),
            file_name=path.name,
            name=f"{path.stem}, {licence}",
            licence=licence,
            licence_url=f"https://spdx.org/licenses/{licence}.html",
            credit="The authors named below",
            source="a list of model files",
            reader="listed",
        )
        for licence in licences
    )


def libraries_under(
    licences: Collection[str], libraries: Collection[Library] = LIBRARIES
) -> list[Library]:
    """Those to train on under one of the licence families, and all that only test.

    Tests leave nothing in the weights, so that their licences do not bind these.
    """
    return [
        library
        for library in libraries
        if library.test_split is not None or library.licence_family in licences
    ]
