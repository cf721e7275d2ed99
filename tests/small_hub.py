# SPDX-License-Identifier: GPL-3.0-or-later
"""The hub in small: the published files with random content, on a server on loopback."""

from __future__ import annotations

import hashlib
import json
import random
from pathlib import Path
from typing import Any

from fault_server import FaultServer

from one2345_blender.installation.download import download
from one2345_blender.installation.hub import Hub
from one2345_blender.installation.published_weights import PUBLISHED

PRESET = "zero123-xl"
BLOCK_BYTES = 100_000
LARGE_BYTES = 4 * BLOCK_BYTES
COMMIT = PUBLISHED[PRESET][0].revision
"""The one that is pinned; the other repository's may be any."""


def hub_files() -> dict[str, dict[str, bytes]]:
    """Repository -> path -> content: the published files in small."""
    dice = random.Random(7)
    diffusers, reconstruction = PUBLISHED[PRESET]
    parts = {
        "model_index.json": b"{}",
        "scheduler/scheduler_config.json": b'{"beta": 1}',
        "README.md": b"---\nlicense: mit\n---\n",
        "unet/diffusion_pytorch_model.bin": b"a pickle that nobody needs",
    }
    for folder, name in (
        ("unet", "diffusion_pytorch_model.fp16_ema"),
        ("vae", "diffusion_pytorch_model.fp16"),
        ("image_encoder", "model"),
        ("clip_camera_projection", "diffusion_pytorch_model"),
    ):
        parts[f"{folder}/config.json"] = json.dumps({"folder": folder}).encode()
        size = LARGE_BYTES if folder == "unet" else 1000
        parts[f"{folder}/{name}.safetensors"] = dice.randbytes(size)
    checkpoint = "SparseNeuS_demo_v1/exp/lod0/checkpoints/ckpt_215000.pth"
    return {diffusers.repo_id: parts, reconstruction.repo_id: {checkpoint: dice.randbytes(1000)}}


LARGE = "unet/diffusion_pytorch_model.fp16_ema.safetensors"
REPO = PUBLISHED[PRESET][0].repo_id
LARGE_URL = f"/{REPO}/resolve/{COMMIT}/{LARGE}"


def serve(server: FaultServer, repositories: dict[str, dict[str, bytes]]) -> None:
    """What the hub's own addresses answer."""
    for source in PUBLISHED[PRESET]:
        siblings: list[dict[str, Any]] = []
        for path, content in repositories[source.repo_id].items():
            entry: dict[str, Any] = {"rfilename": path, "size": len(content)}
            entry["blobId"] = hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()
            if not path.endswith((".json", ".md")):
                sha256 = hashlib.sha256(content).hexdigest()
                entry["lfs"] = {"sha256": sha256, "size": len(content), "pointerSize": 1}
            siblings.append(entry)
            server.files[f"/{source.repo_id}/resolve/{COMMIT}/{path}"] = content
        info = {"id": source.repo_id, "sha": COMMIT, "siblings": siblings}
        info["cardData"] = {"license": "mit"}
        address = f"/api/models/{source.repo_id}/revision/{source.revision}?blobs=true"
        server.files[address] = json.dumps(info).encode()


def fetch(server: FaultServer, given: Path | None = None) -> tuple[Any, list[dict[str, Any]]]:
    events: list[dict[str, Any]] = []
    result = download(PRESET, hub=Hub(server.url), emit=events.append, given=given)
    return result, events


def assert_whole(result: Any) -> None:
    published = hub_files()
    for name, path in result.files.items():
        repo = next(repo for repo in published if name.startswith(repo))
        assert Path(path).read_bytes() == published[repo][name.removeprefix(f"{repo}/")]
    assert len(result.files) == 11
