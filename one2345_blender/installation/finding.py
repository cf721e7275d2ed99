# SPDX-License-Identifier: GPL-3.0-or-later
"""What the doctor says of one thing."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

OK, WARNING, ERROR = "ok", "warning", "error"


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that was looked at."""

    name: str
    status: str
    """`ok`, `warning` or `error`."""
    found: str
    hint: str = ""
    """What to do about it; empty when nothing needs to be done."""


@dataclass(frozen=True, kw_only=True)
class Diagnosis:
    """All findings, as a command's result."""

    findings: tuple[Finding, ...]
    files: dict[str, str] = field(default_factory=dict)

    @property
    def is_healthy(self) -> bool:
        """Nothing stands in the way of a conversion with the embedded preset."""
        return not any(finding.status == ERROR for finding in self.findings)

    @property
    def report(self) -> dict[str, Any]:
        """Plain JSON values."""
        findings = [asdict(finding) for finding in self.findings]
        return {"is_healthy": self.is_healthy, "findings": findings}

    def __str__(self) -> str:
        lines = []
        for finding in self.findings:
            lines.append(f"{finding.status:8s}{finding.name}: {finding.found}")
            if finding.hint:
                lines.append(f"{'':8s}-> {finding.hint}")
        return "\n".join(lines)
