# SPDX-License-Identifier: GPL-3.0-or-later
"""The published model libraries, their licences and their rights holders."""

from __future__ import annotations

from dataclasses import dataclass


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
    """Debian package and version of the library."""
    evaluation_only: bool = False
    """Never trained on."""


_FURNITURE = "sweethome3d-furniture, libraries 1.8 (www.sweethome3d.com)"

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
        evaluation_only=True,
    ),
)
"""In order of precedence: of two equal shapes the first is kept."""
