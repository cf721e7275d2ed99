# SPDX-License-Identifier: GPL-3.0-or-later
"""Two things a user can ask for, from files to files: convert and views."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..contracts.job import JobSpec, RunReport
from ..contracts.job_folder import FOREGROUND_PNG, PHOTO_PNG, REPORT_JSON, prepare_output_dir
from ..contracts.progress import OnEvent, StageStarted, StepDone, ignore_events
from .devices import format_name
from .job_record import JobRecord, JobResult, installed_versions, memory_errors_named
from .memory_limit import memory_limited
from .model_cache import ModelCache
from .process_memory import peak_memory_bytes
from .result_files import write_cameras, write_json, write_mesh, write_photo, write_png, write_views
from .source_image import read_source_image
from .two_stage_views import view_generator
from .view_schedule import PoseOffset
from .zero123.offloading import OFFLOADED, is_offloaded
from .zero123.view_batches import BatchLimit, views_in_batches


@memory_errors_named()
def convert_image(
    spec: JobSpec, *, models: ModelCache, on_event: OnEvent = ignore_events
) -> JobResult:
    """Convert one picture and write mesh, views, cameras and report to `spec.output_dir`.

    Files appear under their names only when everything is computed.

    Raises:
        One2345Error: One of its kinds, with what was expected, what came and what to do.
    """
    record = JobRecord(on_event)
    prepare_output_dir(spec.output_dir)
    image = read_source_image(spec.image_path)
    with memory_limited(spec.memory_limit_gb, spec.device):
        record(StageStarted("load_models"))
        pipeline = models.get(spec.preset, spec.device)
        sampler = spec.sampler or pipeline.config.sampler
        steps_stage1, steps_stage2 = pipeline.default_steps(sampler, spec.steps_scale or 1.0)
        output = pipeline(
            image,
            seed=spec.seed,
            elevation_deg=spec.elevation_deg,
            sampler=sampler,
            num_inference_steps_stage1=spec.num_inference_steps_stage1 or steps_stage1,
            num_inference_steps_stage2=spec.num_inference_steps_stage2 or steps_stage2,
            guidance_scale=spec.guidance_scale,
            grid_resolution=spec.grid_resolution,
            on_event=record,
        )
    record(StageStarted("write"))
    folder = spec.output_dir
    files = write_mesh(folder, output.mesh)
    files["photo"] = write_photo(folder / PHOTO_PNG, image)
    files["foreground"] = write_png(folder / FOREGROUND_PNG, output.foreground.rgb)
    write_views(folder, output.views)
    files["transforms"] = write_cameras(folder, pipeline.source_views(output.views))
    height_px, width_px = output.foreground.source_size
    report = RunReport(
        image_path=str(spec.image_path),
        preset=spec.preset,
        seed=spec.seed,
        device=str(pipeline.reconstruction.device),
        dtype=format_name(pipeline.unet.dtype),
        sampler=sampler,
        elevation=output.elevation,
        source_size_px=(width_px, height_px),
        crop_box_px=output.foreground.crop_box_px,
        view_size_px=pipeline.view_size_px,
        num_vertices=len(output.mesh.vertices),
        num_faces=len(output.mesh.faces),
        stage_seconds=record.stage_seconds(),
        total_seconds=record.total_seconds(),
        peak_memory_bytes=peak_memory_bytes(),
        warnings=tuple(record.warnings),
        versions=installed_versions(),
    ).to_dict()
    files["report"] = write_json(folder / REPORT_JSON, report)
    return JobResult(files=files, report=report)


@memory_errors_named()
def synthesise_views(
    image_path: Path,
    output_dir: Path,
    d_azimuth_deg: Sequence[float],
    d_elevation_deg: Sequence[float],
    *,
    models: ModelCache,
    preset: str = "embedded",
    seed: int = 0,
    device: str = "auto",
    sampler: str | None = None,
    num_inference_steps: int | None = None,
    guidance_scale: float | None = None,
    on_event: OnEvent = ignore_events,
) -> JobResult:
    """Single views of a picture's object from cameras relative to the picture's own.

    Args:
        d_azimuth_deg: One for each view; positive is counter-clockwise seen from above.
        d_elevation_deg: One for each view; positive is higher.

    Raises:
        One2345Error: One of its kinds.
    """
    record = JobRecord(on_event)
    prepare_output_dir(output_dir)
    image = read_source_image(image_path)
    record(StageStarted("load_models"))
    pipeline = models.get(preset, device)
    if is_offloaded(pipeline):
        record(OFFLOADED)
    record(StageStarted("foreground"))
    foreground = pipeline.prepare(image)
    record(StageStarted("views_stage1"))
    names = [
        f"azimuth{azimuth:+g}_elevation{elevation:+g}"
        for azimuth, elevation in zip(d_azimuth_deg, d_elevation_deg, strict=True)
    ]
    offsets = [
        PoseOffset(-elevation, azimuth)
        for azimuth, elevation in zip(d_azimuth_deg, d_elevation_deg, strict=True)
    ]
    guessed = pipeline.guess(foreground)
    sampler = sampler or pipeline.config.sampler
    views = views_in_batches(
        pipeline.zero123,
        foreground.rgb[None],
        [o.d_polar_deg for o in offsets],
        [o.d_azimuth_deg for o in offsets],
        guess_rgb=None if guessed is None else guessed.views(offsets),
        generators=[view_generator(seed, name) for name in names],
        num_inference_steps=num_inference_steps or pipeline.default_steps(sampler)[0],
        guidance_scale=(
            pipeline.config.guidance_scale if guidance_scale is None else guidance_scale
        ),
        sampler=sampler,
        limit=BatchLimit(),
        on_step=lambda step, steps: record(StepDone("views_stage1", step, steps)),
        on_event=record,
    )
    files = {
        name: write_png(output_dir / f"{name}.png", view)
        for name, view in zip(names, views, strict=True)
    }
    report = {
        "preset": preset,
        "seed": seed,
        "device": str(pipeline.reconstruction.device),
        "dtype": format_name(pipeline.unet.dtype),
        "views": names,
    }
    return JobResult(files=files, report=report)
