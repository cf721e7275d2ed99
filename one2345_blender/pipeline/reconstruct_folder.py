# SPDX-License-Identifier: GPL-3.0-or-later
"""The third thing a user can ask for, from files to files: a mesh of posed pictures.

Loads no more than that takes: neither diffusers' networks nor PyTorch's compiler.
"""

from __future__ import annotations

from pathlib import Path

import torch

from ..contracts.job_folder import REPORT_JSON, prepare_output_dir
from ..contracts.progress import OnEvent, StageStarted, ignore_events
from .devices import format_name, prepare_device, resolve_device
from .job_record import JobRecord, JobResult, installed_versions, memory_errors_named
from .posed_images import read_posed_images, scene_scale
from .preset_weights import load_reconstruction
from .process_memory import peak_memory_bytes
from .reconstruct_views import reconstruct_views
from .result_files import write_json, write_mesh


@memory_errors_named()
def reconstruct_folder(
    folder: Path,
    output_dir: Path,
    *,
    checkpoint: Path | None = None,
    grid_resolution: int = 256,
    device: str = "auto",
    on_event: OnEvent = ignore_events,
) -> JobResult:
    """A mesh from a folder of posed pictures (`transforms.json`), in that file's world frame.

    Args:
        checkpoint: The original's `.pth` or a preset's `reconstruction` folder; None: the
            embedded preset's network.

    Raises:
        One2345Error: One of its kinds.
    """
    record = JobRecord(on_event)
    prepare_output_dir(output_dir)
    record(StageStarted("load_models"))
    resolved = resolve_device(device)
    prepare_device(resolved)
    reconstruction = load_reconstruction(checkpoint).to(resolved)
    views = read_posed_images(folder, int(reconstruction.config.image_size_px))
    with torch.no_grad():
        scale = scene_scale(views.cameras)
        mesh = scale.to_file(
            reconstruct_views(reconstruction, scale.to_method(views), grid_resolution, record)
        )
    record(StageStarted("write"))
    files = write_mesh(output_dir, mesh)
    report = {
        "device": str(resolved),
        "dtype": format_name(reconstruction.dtype),
        "num_views": len(views.rgb),
        "num_vertices": len(mesh.vertices),
        "num_faces": len(mesh.faces),
        "stage_seconds": record.stage_seconds(),
        "total_seconds": record.total_seconds(),
        "peak_memory_bytes": peak_memory_bytes(),
        "versions": installed_versions(),
    }
    files["report"] = write_json(output_dir / REPORT_JSON, report)
    return JobResult(files=files, report=report)
