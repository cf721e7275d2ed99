# SPDX-License-Identifier: GPL-3.0-or-later
"""What the add-on says can be translated: a text is looked up before anything is filled in."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ADDON = Path(__file__).resolve().parents[2] / "one2345_blender" / "addon"
SHOWS_TEXT = {"label": "text", "operator": "text", "prop": "text", "progress": "text"}
"""Method of a layout -> its argument that Blender looks up unless it has `translate=False`."""
SAYS_TEXT = {"report": 1, "poll_message_set": 0, "give_up": 1}
"""Function -> position of what it tells the user."""
PROPERTY_TEXTS = ("name", "description")


def name_of(call: ast.Call) -> str:
    function = call.func
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


def is_filled_in(text: ast.expr | None) -> bool:
    """True for an f-string, and for `"…".format()` of a text that was not looked up."""
    if isinstance(text, ast.Call) and isinstance(text.func, ast.Attribute):
        return text.func.attr == "format" and isinstance(text.func.value, ast.Constant)
    return isinstance(text, ast.JoinedStr)


def untranslatable(tree: ast.AST) -> list[int]:
    """Line numbers."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, keywords = name_of(call), {k.arg: k.value for k in call.keywords}
        texts: list[ast.expr | None] = []
        if name in SHOWS_TEXT and "translate" not in keywords:
            texts.append(keywords.get(SHOWS_TEXT[name]))
        elif name in SAYS_TEXT:
            texts += call.args[SAYS_TEXT[name] :]
        elif name.endswith("Property"):
            texts += [keywords.get(argument) for argument in PROPERTY_TEXTS]
        found += [call.lineno for text in texts if is_filled_in(text)]
    return found


@pytest.mark.parametrize("file", sorted(ADDON.glob("*.py")), ids=lambda file: file.stem)
def test_texts_are_looked_up_before_they_are_filled_in(file: Path) -> None:
    assert untranslatable(ast.parse(file.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        'row.label(text=f"{n} waiting")',
        'self.report({"ERROR"}, f"gone: {path}")',
        'cls.poll_message_set("No {}".format(name))',
        'seed: bpy.props.IntProperty(name="Seed", description=f"0 to {MAX_SEED}")',
    ],
)
def test_others_are_found(line: str) -> None:
    assert untranslatable(ast.parse(line)) == [1]
