# SPDX-License-Identifier: GPL-3.0-or-later
"""What a user asks for (`JobSpec`) and what the answer says of itself (`RunReport`)."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from .errors import OptionError, shown

PRESETS = ("embedded", "zero123-xl")
DEVICES = ("auto", "cpu", "cuda", "mps", "xpu")
REFERENCE_SAMPLER = "reference"
"""Views are sampled step by step as the preset's networks were published."""
FAST_SAMPLER = "fast"
"""A solver of higher order: fewer evaluations for nearly the same views."""
SAMPLERS = (REFERENCE_SAMPLER, FAST_SAMPLER)
MAX_SEED = 2**31 - 1
MIN_GRID_RESOLUTION, MAX_GRID_RESOLUTION = 16, 512


@dataclass(frozen=True, kw_only=True)
class JobSpec:
    """One conversion of one picture. `None` means: as the preset says.

    Raises:
        OptionError: An option is out of range; the message names it, its range and the value.
    """

    job_id: str
    image_path: Path
    """The picture, absolute."""
    output_dir: Path
    """Where the results go, absolute."""
    preset: str = "embedded"
    """One of `PRESETS`, or a folder in the same layout."""
    seed: int = 0
    """0 to 2^31 - 1."""
    device: str = "auto"
    """One of `DEVICES`."""
    elevation_deg: float | None = None
    """Elevation of the photo's camera, -90..90 above the horizon; None: estimate it."""
    sampler: str | None = None
    """One of `SAMPLERS`."""
    num_inference_steps_stage1: int | None = None
    num_inference_steps_stage2: int | None = None
    steps_scale: float | None = None
    """Multiplies the preset's numbers of denoising steps, 0.1..10, as far as the sampler can go."""
    guidance_scale: float | None = None
    grid_resolution: int | None = None
    """Samples of the signed distance field along each axis, 16..512."""
    memory_limit_gb: float | None = None
    """What the job may take of the device's memory, 10^9 bytes, 0.1..10000; None: no limit."""

    def __post_init__(self) -> None:
        _check_int("seed", self.seed, 0, MAX_SEED)
        if self.device not in DEVICES:
            raise _option("device", f"one of {', '.join(DEVICES)}", self.device)
        if self.elevation_deg is not None:
            _check_float("elevation_deg", self.elevation_deg, -90.0, 90.0)
        if self.sampler is not None and self.sampler not in SAMPLERS:
            raise _option("sampler", f"one of {', '.join(SAMPLERS)}", self.sampler)
        for name in ("num_inference_steps_stage1", "num_inference_steps_stage2"):
            if getattr(self, name) is not None:
                _check_int(name, getattr(self, name), 1, 1000)
        if self.steps_scale is not None:
            _check_float("steps_scale", self.steps_scale, 0.1, 10.0)
        if self.guidance_scale is not None:
            _check_float("guidance_scale", self.guidance_scale, 0.0, 50.0)
        if self.grid_resolution is not None:
            limits = MIN_GRID_RESOLUTION, MAX_GRID_RESOLUTION
            _check_int("grid_resolution", self.grid_resolution, *limits)
        if self.memory_limit_gb is not None:
            _check_float("memory_limit_gb", self.memory_limit_gb, 0.1, 10_000.0)
        if not self.preset:
            raise _option("preset", f"one of {', '.join(PRESETS)} or a folder", self.preset)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        values = asdict(self)
        values["image_path"] = str(self.image_path)
        values["output_dir"] = str(self.output_dir)
        return values

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> JobSpec:
        """The inverse of `to_dict`.

        Raises:
            OptionError: A key is missing or unknown, or a value is out of range.
        """
        if not isinstance(values, dict):
            raise _option("job", "an object", values)
        known = {f.name for f in fields(cls)}
        required = {"job_id", "image_path", "output_dir"}
        if surplus := set(values) - known:
            raise _option("job", f"only the keys {sorted(known)}", sorted(surplus))
        if missing := required - set(values):
            raise _option("job", f"the keys {sorted(required)}", f"no {sorted(missing)}")
        for name in (*required, "preset", "device"):
            if name in values and not isinstance(values[name], str):
                raise _option(name, "text", values[name])
        for name in ("image_path", "output_dir", "preset"):
            if name in values and not _is_file_name(values[name]):
                raise _option(name, "a path that this system can have", values[name])
        paths = {name: Path(values[name]) for name in ("image_path", "output_dir")}
        return cls(**{**values, **paths})


@dataclass(frozen=True, kw_only=True)
class ElevationEstimate:
    """The elevation of the photo's camera and how far it can be trusted."""

    elevation_deg: float
    """Above the horizon."""
    is_estimated: bool
    """False when the user gave it, or when too little matched and the prior stands in."""
    confidence: float
    """0..1; 1 for a value that the user gave, 0 for the prior."""
    num_matches: int = 0
    """Matches that agree with the estimate."""

    @classmethod
    def given(cls, elevation_deg: float) -> ElevationEstimate:
        """What the user says."""
        return cls(elevation_deg=elevation_deg, is_estimated=False, confidence=1.0)


@dataclass(frozen=True, kw_only=True)
class RunReport:
    """Everything about a finished conversion that is not a picture or a mesh (`report.json`)."""

    image_path: str
    preset: str
    seed: int
    device: str
    dtype: str
    sampler: str
    elevation: ElevationEstimate
    source_size_px: tuple[int, int]
    """Width and height of the photo, upright."""
    crop_box_px: tuple[float, float, float]
    """Square of the photo that the method sees: left, top, side; it may reach beyond the photo."""
    view_size_px: int
    """Side of the views into which that square was resized."""
    num_vertices: int
    num_faces: int
    stage_seconds: dict[str, float]
    total_seconds: float
    peak_memory_bytes: int
    """Largest resident size of the process so far."""
    warnings: tuple[str, ...] = ()
    versions: dict[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """Plain JSON values."""
        return asdict(self)


def _option(name: str, expected: str, came: object) -> OptionError:
    return OptionError(
        f"{name}: expected {expected}, got {shown(came)}.", hint=f"Change {name} and try again."
    )


def _is_file_name(text: str) -> bool:
    try:
        return b"\0" not in os.fsencode(text)
    except UnicodeEncodeError:
        return False


def _check_int(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise _option(name, f"a whole number from {low} to {high}", value)


def _check_float(name: str, value: object, low: float, high: float) -> None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise _option(name, f"a number from {low:g} to {high:g}", value)
    if not low <= value <= high:  # NaN is not either
        raise _option(name, f"a number from {low:g} to {high:g}", value)
