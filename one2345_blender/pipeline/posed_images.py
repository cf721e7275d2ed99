# SPDX-License-Identifier: GPL-3.0-or-later
"""People's own posed pictures: read, made square, and brought to the scale of the method's rig."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..contracts.cameras import CAMERA_RADIUS, CameraRig, PosedImages
from ..contracts.errors import PosedImagesError
from ..contracts.mesh import ColoredMesh
from ..contracts.transforms_json import read_transforms
from .source_image import read_source_image

SAME_SCENE_TOLERANCE = 1e-3
"""Rigs this close to the method's own are taken as they are."""


@dataclass(frozen=True, kw_only=True)
class SceneScale:
    """Where a rig's cameras look, and how far they stand from it, in the file's world units."""

    centre: NDArray[np.float64]
    """`(3,)`, the point nearest to all optical axes."""
    factor: float
    """Method units per file unit: the cameras' mean distance becomes `CAMERA_RADIUS`."""

    def to_method(self, images: PosedImages) -> PosedImages:
        """The same pictures around the origin, at the distance that the networks know."""
        rig = images.cameras
        near, far = rig.near_far
        return replace(
            images,
            cameras=replace(
                rig,
                c2w=self._moved(rig.c2w),
                near_far=(near * self.factor, far * self.factor),
            ),
            reference_c2w=self._moved(images.reference_c2w),
        )

    def to_file(self, mesh: ColoredMesh) -> ColoredMesh:
        """A mesh in the file's world frame."""
        vertices = mesh.vertices / self.factor + self.centre
        return replace(mesh, vertices=vertices.astype(np.float32))

    def _moved(self, c2w: NDArray[np.float32]) -> NDArray[np.float32]:
        moved = c2w.copy()
        moved[..., :3, 3] = (c2w[..., :3, 3] - self.centre) * self.factor
        return moved


def read_posed_images(folder: Path, size_px: int) -> PosedImages:
    """Read `transforms.json` and its pictures, padded to squares of `size_px` on white.

    Raises:
        PosedImagesError: See `read_transforms`; or a picture is not of the size the file says.
        InputImageError: A picture cannot be read.
    """
    files = read_transforms(folder)
    rig = files.cameras
    pictures = []
    for path in files.image_paths:
        image = read_source_image(path)
        if image.shape[:2] != (rig.height_px, rig.width_px):
            raise PosedImagesError(
                f"{path}: expected {rig.width_px} x {rig.height_px} pixels as transforms.json "
                f"says, got {image.shape[1]} x {image.shape[0]}.",
                hint="Give pictures of one size, and that size as w and h.",
            )
        pictures.append(_square_on_white(image, size_px))
    return PosedImages(
        rgb=np.stack(pictures),
        cameras=_square_rig(rig, size_px),
        reference_c2w=files.reference_c2w,
    )


def scene_scale(rig: CameraRig) -> SceneScale:
    """Where the cameras of a rig look, by least squares over their optical axes.

    Raises:
        PosedImagesError: The axes are all but parallel, or they meet behind the cameras.
    """
    centres = rig.c2w[:, :3, 3].astype(np.float64)
    axes = rig.c2w[:, :3, 2].astype(np.float64)
    across = np.eye(3) - axes[:, :, None] * axes[:, None, :]
    system = across.sum(axis=0)
    if np.linalg.eigvalsh(system)[0] < 1e-3 * len(axes):
        raise PosedImagesError(
            "Expected cameras around an object, but they all look in nearly the same direction.",
            hint="Give pictures from several sides.",
        )
    focus = np.linalg.solve(system, np.einsum("vij,vj->i", across, centres))
    depths = np.einsum("vi,vi->v", focus - centres, axes)
    if (depths <= 0).any():
        raise PosedImagesError(
            "Expected cameras that look at a common point, but it lies behind camera "
            f"{rig.names[int(depths.argmin())]!r}.",
            hint="Check the axes of the matrices: x right, y up, z backward.",
        )
    factor = CAMERA_RADIUS / float(np.linalg.norm(focus - centres, axis=1).mean())
    if abs(factor - 1.0) < SAME_SCENE_TOLERANCE and np.linalg.norm(focus) < SAME_SCENE_TOLERANCE:
        return SceneScale(centre=np.zeros(3), factor=1.0)
    return SceneScale(centre=focus, factor=factor)


def _padding_px(height_px: int, width_px: int) -> tuple[int, int]:
    """Rows above and columns to the left that centre a picture in a square."""
    side_px = max(height_px, width_px)
    return (side_px - height_px) // 2, (side_px - width_px) // 2


def _square_on_white(image: NDArray[np.uint8], size_px: int) -> NDArray[np.uint8]:
    height_px, width_px = image.shape[:2]
    side_px = max(height_px, width_px)
    top, left = _padding_px(height_px, width_px)
    canvas = Image.new("RGB", (side_px, side_px), "white")
    picture = Image.fromarray(image)
    mask = picture if picture.mode == "RGBA" else None
    canvas.paste(picture.convert("RGB"), (left, top), mask)
    if side_px != size_px:
        canvas = canvas.resize((size_px, size_px), Image.Resampling.LANCZOS)
    return np.asarray(canvas)


def _square_rig(rig: CameraRig, size_px: int) -> CameraRig:
    scale = size_px / max(rig.height_px, rig.width_px)
    top, left = _padding_px(rig.height_px, rig.width_px)
    K = rig.K.copy()
    K[0, 2] += left
    K[1, 2] += top
    K[:2] *= scale
    return replace(rig, K=K, height_px=size_px, width_px=size_px)
