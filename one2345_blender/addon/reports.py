# SPDX-License-Identifier: GPL-3.0-or-later
"""How operators say that they cannot go on."""

import bpy

from ..contracts.errors import One2345Error


def give_up(operator: bpy.types.Operator, reason: str | One2345Error) -> set[str]:
    """Report the reason, and what to do about it; the operator's answer to Blender."""
    if isinstance(reason, One2345Error):
        reason = f"{reason.message}\n{reason.hint}"
    operator.report({"ERROR"}, reason.strip())
    return {"CANCELLED"}


def without_prefix(error: Exception) -> str:
    """What an operator reported, of the error that bpy makes of its reports."""
    return "\n".join(line.removeprefix("Error: ") for line in str(error).strip().splitlines())
