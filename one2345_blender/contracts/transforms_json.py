# SPDX-License-Identifier: GPL-3.0-or-later
"""Camera files in the NeRF form: `transforms.json` <-> `CameraRig`.

Matrices in the file have Blender's camera axes (x right, y up, z backward); in memory OpenCV's.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from .bounded_file import read_bounded
from .cameras import NEAR_FAR, CameraRig, FloatArray, swap_camera_axes
from .errors import PosedImagesError, shown
from .job_folder import TRANSFORMS_JSON, atomic_write

MAX_FRAMES = 1024
MAX_NUMBER = 1e9
"""Beyond it, float32 has no place for a camera."""


@dataclass(frozen=True, kw_only=True)
class PosedImageFiles:
    """A read `transforms.json`: cameras, and where their pictures lie."""

    image_paths: tuple[Path, ...]
    cameras: CameraRig
    reference_c2w: FloatArray
    """`(4, 4)` float32, OpenCV axes; the first frame's camera where the file names none."""


def write_transforms(
    folder: Path, image_names: list[str], cameras: CameraRig, reference_c2w: FloatArray
) -> Path:
    """Write `folder/transforms.json`; `image_names` are relative to `folder`."""
    frames = [
        {"file_path": name, "transform_matrix": swap_camera_axes(c2w).tolist()}
        for name, c2w in zip(image_names, cameras.c2w, strict=True)
    ]
    document = {
        "w": cameras.width_px,
        "h": cameras.height_px,
        "fl_x": float(cameras.K[0, 0]),
        "fl_y": float(cameras.K[1, 1]),
        "cx": float(cameras.K[0, 2]),
        "cy": float(cameras.K[1, 2]),
        "near_far": list(cameras.near_far),
        "reference_transform_matrix": swap_camera_axes(reference_c2w).tolist(),
        "frames": frames,
    }
    path = folder / TRANSFORMS_JSON
    with atomic_write(path) as file:
        file.write(json.dumps(document, indent=1).encode())
    return path


def read_transforms(folder: Path) -> PosedImageFiles:
    """Read `folder/transforms.json`. Pictures must lie inside `folder`.

    Raises:
        PosedImagesError: The file or a picture is missing, a key is missing, a number is not
            finite, a matrix is not a rigid motion, or a path leaves the folder.
    """
    path = folder / TRANSFORMS_JSON
    try:
        document = json.loads(read_bounded(path))
    except OSError as error:
        raise _bad(path, f"a readable file, but {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise _bad(path, f"JSON, but {error}") from error
    if not isinstance(document, dict):
        raise _bad(path, f"a JSON object, got {type(document).__name__}")
    frames = _get(path, document, "frames")
    if not isinstance(frames, list) or not 2 <= len(frames) <= MAX_FRAMES:
        raise _bad(path, f"`frames` to be a list of 2 to {MAX_FRAMES} frames")
    near, far = (
        _vector(path, document["near_far"], "near_far", 2)
        if "near_far" in document
        else np.array(NEAR_FAR)
    )
    if not 0 < near < far:
        raise _bad(path, f"`near_far` to be 0 < near < far, got {near:g}, {far:g}")
    c2w, image_paths = [], []
    for index, frame in enumerate(frames):
        where = f"frames[{index}]"
        if not isinstance(frame, dict):
            raise _bad(path, f"`{where}` to be an object")
        image_paths.append(_image_path(path, _get(path, frame, "file_path", where), where))
        c2w.append(_matrix(path, _get(path, frame, "transform_matrix", where), where))
    reference = document.get("reference_transform_matrix")
    return PosedImageFiles(
        image_paths=tuple(image_paths),
        cameras=CameraRig(
            names=tuple(p.stem for p in image_paths),
            c2w=np.stack(c2w),
            K=_intrinsics(path, document),
            height_px=_size(path, document, "h"),
            width_px=_size(path, document, "w"),
            near_far=(float(near), float(far)),
        ),
        reference_c2w=(
            c2w[0] if reference is None else _matrix(path, reference, "reference_transform_matrix")
        ),
    )


def _bad(path: Path, expected: str) -> PosedImagesError:
    return PosedImagesError(
        f"{path}: expected {expected}.",
        hint="docs/conventions.md shows a complete transforms.json; correct the file.",
    )


def _get(path: Path, values: dict[str, Any], key: str, where: str = "the file") -> Any:
    if key not in values:
        raise _bad(path, f"the key `{key}` in {where}, which has only {shown(sorted(values))}")
    return values[key]


def _number(path: Path, value: object, name: str) -> float:
    is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not is_number or not abs(cast(float, value)) <= MAX_NUMBER:
        raise _bad(path, f"`{name}` to be a finite number up to {MAX_NUMBER:g}, got {shown(value)}")
    return float(cast(float, value))


def _vector(path: Path, value: object, name: str, length: int) -> NDArray[np.float64]:
    if not isinstance(value, list) or len(value) != length:
        raise _bad(path, f"`{name}` to be a list of {length} numbers")
    return np.array([_number(path, item, name) for item in value])


def _size(path: Path, document: dict[str, Any], key: str) -> int:
    value = _number(path, _get(path, document, key), key)
    if value != int(value) or not 8 <= value <= 8192:
        raise _bad(path, f"`{key}` to be a whole number of pixels from 8 to 8192, got {value:g}")
    return int(value)


def _intrinsics(path: Path, document: dict[str, Any]) -> FloatArray:
    fl_x, fl_y, cx, cy = (
        _number(path, _get(path, document, key), key) for key in ("fl_x", "fl_y", "cx", "cy")
    )
    if fl_x <= 0 or fl_y <= 0:
        raise _bad(path, f"focal lengths above 0, got {fl_x:g}, {fl_y:g}")
    return np.array([[fl_x, 0, cx], [0, fl_y, cy], [0, 0, 1]], dtype=np.float32)


def _matrix(path: Path, value: object, name: str) -> FloatArray:
    if not isinstance(value, list) or len(value) != 4:
        raise _bad(path, f"`transform_matrix` of {name} to be 4 x 4 numbers")
    matrix = np.stack([_vector(path, row, f"transform_matrix of {name}", 4) for row in value])
    rotation = matrix[:3, :3]
    is_rigid = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3) and (
        np.linalg.det(rotation) > 0
    )
    if not is_rigid or not np.allclose(matrix[3], (0, 0, 0, 1), atol=1e-6):
        raise _bad(path, f"`transform_matrix` of {name} to be a rotation and a translation")
    return swap_camera_axes(matrix)


def _image_path(path: Path, value: object, where: str) -> Path:
    if not isinstance(value, str) or not value or "\0" in value:
        raise _bad(path, f"`file_path` of {where} to be a path, got {shown(value)}")
    folder = path.parent.resolve()
    try:
        image_path = (folder / value).resolve()
        is_there = image_path.is_file()
    except (OSError, ValueError, RuntimeError) as error:  # too long, not encodable, a circle
        raise _bad(path, f"`file_path` of {where} to be a path, got {shown(value)}") from error
    if not image_path.is_relative_to(folder):
        raise _bad(path, f"`file_path` of {where} to stay inside the folder, got {shown(value)}")
    if not is_there:
        raise _bad(path, f"the picture {shown(value)} of {where} to be there")
    return image_path
