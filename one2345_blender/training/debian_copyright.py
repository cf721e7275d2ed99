# SPDX-License-Identifier: GPL-3.0-or-later
"""Licence and author of a file in a Debian package, from its machine-readable copyright file.

Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase


@dataclass(frozen=True, kw_only=True)
class Rights:
    """Under which licence a file comes, and who holds the copyright."""

    licence: str
    """Debian's short name, such as `CC-BY-SA-3.0` or `GPL-2+`."""
    copyright: str


class CopyrightFile:
    """The `Files` paragraphs of a copyright file, in order.

    Args:
        text: Its content.
    """

    def __init__(self, text: str) -> None:
        self._paragraphs: list[tuple[list[str], Rights]] = []
        for paragraph in re.split(r"\n\s*\n", text):
            fields = _fields(paragraph)
            if "Files" in fields and "License" in fields:
                rights = Rights(
                    licence=fields["License"].split("\n")[0].strip(),
                    copyright="; ".join(fields.get("Copyright", "").split("\n")).strip("; "),
                )
                self._paragraphs.append((fields["Files"].split(), rights))

    def rights(self, source_path: str) -> Rights | None:
        """Of a path in the source package: the last paragraph that matches it, as specified."""
        found = None
        for patterns, rights in self._paragraphs:
            if any(fnmatchcase(source_path, pattern) for pattern in patterns):
                found = rights
        return found


def _fields(paragraph: str) -> dict[str, str]:
    fields: dict[str, list[str]] = {}
    name = ""
    for line in paragraph.splitlines():
        if line[:1].isspace() and name:
            fields[name].append(line.strip())
        elif match := re.match(r"([A-Za-z-]+):\s*(.*)", line):
            name = match[1]
            fields[name] = [match[2]]
    return {name: "\n".join(lines).strip() for name, lines in fields.items()}
