# SPDX-License-Identifier: GPL-3.0-or-later
"""Valid JSON documents, damaged in places: what decoders have to stand."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

CASES = int(os.environ.get("ONE2345_FUZZ_CASES", "1000"))
"""`make fuzz` asks for 100,000, other ones each time; the suite's are always the same."""
fuzzed = settings(
    max_examples=CASES,
    derandomize="ONE2345_FUZZ_CASES" not in os.environ,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)


def write_anew(path: Path, content: bytes | bytearray) -> None:
    """Write a file that was not there: to cut one short makes file systems wait for the disk."""
    path.unlink(missing_ok=True)
    path.write_bytes(content)


nasty_numbers = st.sampled_from(
    [0, -1, 1, 2**31, -(2**63), 10**400, 1e308, -1e308, 5e-324, 1e39, float("nan"), float("inf")]
)
nasty_texts = st.sampled_from(
    [
        *("", "\0", "\ud800", "..", "../secret", "/etc/passwd", "C:\\x", "~", "a" * 5000),
        *("a/" * 3000, "embedded", "loop", "link", "a\nb", "\u202e"),
    ]
)
junk = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    nasty_numbers,
    nasty_texts,
    st.just([]),
    st.just({}),
    st.just([[[[]]]]),
    st.lists(nasty_numbers, min_size=4, max_size=4),
).map(copy.deepcopy)


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """The document with up to four values replaced, removed or added."""
    root = [copy.deepcopy(document)]
    for _ in range(draw(st.integers(0, 4))):
        holder, key = draw(st.sampled_from(_places(root)))
        match draw(st.sampled_from(["replace", "replace", "remove", "add"])):
            case "remove" if holder is not root:
                del holder[key]
            case "add" if isinstance(holder, dict):
                holder[draw(st.text(max_size=8))] = draw(junk)
            case "add":
                holder.append(draw(junk))
                root = root[:1]
            case _:
                holder[key] = draw(junk)
    return root[0]


def _places(node: Any) -> list[tuple[Any, Any]]:
    """Every container below a node, with every key of it."""
    keys = list(node) if isinstance(node, dict) else range(len(node))
    places = [(node, key) for key in keys]
    for key in keys:
        if isinstance(node[key], (dict, list)):
            places += _places(node[key])
    return places
