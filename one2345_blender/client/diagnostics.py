# SPDX-License-Identifier: GPL-3.0-or-later
"""A report that can be posted in public: what runs, what failed, and no private path."""

from __future__ import annotations

import re
from collections.abc import Mapping

_PRIVATE_PATH = re.compile(
    r"""
    (?P<quote> ["'] )?                              # then it ends at the last such on its line
    (?P<home> ~ (?=[/\\]) )?
    (?:
        (?<= ~ ) [/\\]                             # in the home folder
        | (?<! [\w.>~/\\] ) (?<! http: ) (?<! https: ) [/\\]{1,4} (?= [^\s/\\] )  # POSIX, UNC
        | (?<! \w ) [A-Za-z] : [/\\]               # a drive of Windows
    )
    (?: (?(quote) .* (?= (?P=quote) ) | (?!) ) | .* )
    """,
    re.VERBOSE,
)
"""Unquoted, a path goes on to the end of its line: nobody knows which space is its last."""
_UNNAMED = "<path>"
_HOME = "~"
_ENDS_FOLDER = r"(?=[/\\\"']|[.,:;)]*(?:\s|$))"
_ENDS_HOME = r"(?=[/\\\"']|$)"
"""Of the home folder, beside which there may be one whose name goes on after a space."""


def diagnostic_report(sections: Mapping[str, Mapping[str, str]], roots: Mapping[str, str]) -> str:
    """Sections of facts as text, without private paths.

    Args:
        sections: Facts by name, by title.
        roots: What to call a known folder or file, by its path; longer paths are replaced first.
            What lies below one stays, but below `~`.
    """
    lines = []
    for title, facts in sections.items():
        lines.append(title)
        lines += [f"  {name}: {_indented(value)}" for name, value in facts.items()]
    return without_private_paths("\n".join(lines), roots)


def without_private_paths(text: str, roots: Mapping[str, str]) -> str:
    """`text` with known paths named, and all else of other absolute paths and of the home folder
    hidden."""
    for path in sorted((path for path in roots if len(path) > 1), key=len, reverse=True):
        name, is_folder = roots[path], "/" in path or "\\" in path
        ends = (_ENDS_HOME if name == _HOME else _ENDS_FOLDER) if is_folder else ""
        written = name.replace("\\", r"\\")
        text = re.sub(re.escape(path) + ends, written, text, flags=re.MULTILINE)
    return _PRIVATE_PATH.sub(_hidden, text)


def _hidden(found: re.Match[str]) -> str:
    home = f"{_HOME}/" if found["home"] else ""
    return f"{found['quote'] or ''}{home}{_UNNAMED}"


def _indented(value: str) -> str:
    return value.replace("\n", "\n    ")
