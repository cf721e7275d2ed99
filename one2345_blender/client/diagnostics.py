# SPDX-License-Identifier: GPL-3.0-or-later
"""A report that can be posted in public: what runs, what failed, and no private path."""

from __future__ import annotations

import re
from collections.abc import Mapping

_ABSOLUTE_PATH = re.compile(r"(?<![\w.>~/\\])(?:/[^\s'\":,;/]+)+/?|\b[A-Za-z]:\\[^\s'\":,;]+")
_UNNAMED = "<path>"


def diagnostic_report(sections: Mapping[str, Mapping[str, str]], roots: Mapping[str, str]) -> str:
    """Sections of facts as text, without private paths.

    Args:
        sections: Facts by name, by title.
        roots: What to call a known folder or file, by its path; longer paths are replaced first.
    """
    lines = []
    for title, facts in sections.items():
        lines.append(title)
        lines += [f"  {name}: {_indented(value)}" for name, value in facts.items()]
    return without_private_paths("\n".join(lines), roots)


def without_private_paths(text: str, roots: Mapping[str, str]) -> str:
    """`text` with known paths named and all other absolute paths hidden."""
    for path in sorted((path for path in roots if len(path) > 1), key=len, reverse=True):
        text = text.replace(path, roots[path])
    return _ABSOLUTE_PATH.sub(_UNNAMED, text)


def _indented(value: str) -> str:
    return value.replace("\n", "\n    ")
