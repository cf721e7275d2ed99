# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub in small, for the tests of this folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fault_server import FaultServer


@pytest.fixture
def hub_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultServer]:
    from huggingface_hub import constants
    from small_hub import BLOCK_BYTES, hub_files, serve

    monkeypatch.setenv("ONE2345_PRESETS", str(tmp_path / "presets"))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 1)
    monkeypatch.setattr(constants, "DOWNLOAD_CHUNK_SIZE", BLOCK_BYTES)
    with FaultServer({}) as server:
        serve(server, hub_files())
        yield server
