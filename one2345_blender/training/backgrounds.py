# SPDX-License-Identifier: GPL-3.0-or-later
"""Textures and scenes to put behind rendered objects, from Debian packages and scikit-image.

Every picture that is used stands in `backgrounds.json` with its package, licence and author.
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import subprocess
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import skimage
from numpy.typing import NDArray
from PIL import Image

from ..contracts.errors import EnvironmentMissingError
from ..contracts.job_folder import atomic_write
from .debian_copyright import CopyrightFile, Rights

KINDS = ("texture", "scene")
MAX_SIDE_PX = {"texture": 256, "scene": 512}
VALIDATION_SHARE = 0.08


@dataclass(frozen=True, kw_only=True)
class BackgroundPackage:
    """Which files of a Debian package are of use."""

    name: str
    kind: str
    """One of `KINDS`."""
    pattern: str
    """Regular expression on the path in the package, or in an archive inside it."""
    source_prefix: str = ""
    """What the copyright file puts before the part of the path that `pattern` captures."""


PACKAGES = (
    BackgroundPackage(
        name="ufoai-textures",
        kind="texture",
        pattern=(
            r"(textures/tex_(?:buildings|material|nature|base|terrain|streets|dirt|common)/"
            r"[^/]*(?:carpet|concrete|floor|wood|wall|tile|brick|grass|rock|sand|ground|dirt|road|"
            r"ceiling|marble|stone|plaster|paving|sidewalk|street|snow|gravel|leather|fabric)"
            r"[^/]*(?<!_nm)(?<!_sp)(?<!_gm)\.(?:jpg|png))$"
        ),
        source_prefix="base/",
    ),
    BackgroundPackage(
        name="openarena-081-textures",
        kind="texture",
        pattern=r"(textures/(?:gothic_floor|organics|stone|acc_dm3|gothic_block)/[^/]*\.jpg)$",
    ),
    BackgroundPackage(
        name="mate-backgrounds",
        kind="scene",
        pattern=r"mate/(nature/[^/]*\.jpg|abstract/(?:Gulp|Elephants)\.(?:png|jpg))$",
    ),
    BackgroundPackage(
        name="plasma-workspace-wallpapers",
        kind="scene",
        pattern=r"wallpapers/((?!ColorfulCups|FlyingKonqui|SafeLanding)\w+/contents/images/"
        r"(?:2560x1600|3840x2160|5120x2880|3200x2000)\.\w+)$",
    ),
)
LICENCES = ("CC0-1.0", "public-domain", "CC-BY-3.0", "CC-BY-4.0", "GPL-2+", "GPL-3+", "Expat")
"""What may go into weights under GPL-3.0-or-later; the packages hold files under others too."""
SCIKIT_IMAGE_TEXTURES = {
    "brick.png": Rights(licence="CC0-1.0", copyright="CC0Textures"),
    "grass.png": Rights(licence="CC0-1.0", copyright="linolafett (DeviantArt)"),
    "gravel.png": Rights(licence="CC0-1.0", copyright="CC0Textures"),
}


@dataclass(frozen=True, kw_only=True)
class Background:
    """One picture and where it comes from."""

    name: str
    """Package and path, unique."""
    kind: str
    rights: Rights
    rgb: NDArray[np.uint8]
    """`(H, W, 3)` sRGB."""

    @property
    def is_validation(self) -> bool:
        """Whether it is kept for validation; follows from the name."""
        digest = hashlib.sha256(self.name.encode()).digest()
        return int.from_bytes(digest[:4], "little") < VALIDATION_SHARE * 2**32


def collect_backgrounds(packages_dir: Path, manifest_path: Path) -> list[Background]:
    """Unpack what is not yet in `packages_dir`, read all pictures, write the manifest.

    Raises:
        EnvironmentMissingError: A package is not there and cannot be downloaded.
    """
    backgrounds = list(_scikit_image_textures())
    for package in PACKAGES:
        folder = packages_dir / package.name
        if not folder.is_dir():
            _unpack_package(package.name, folder)
        backgrounds.extend(_read_package(package, folder))
    _write_manifest(backgrounds, manifest_path)
    return backgrounds


def _write_manifest(backgrounds: list[Background], path: Path) -> None:
    """One line per pair of licence and copyright, with the pictures that come under it."""
    names: dict[Rights, list[str]] = {}
    for background in backgrounds:
        names.setdefault(background.rights, []).append(background.name)
    rows = [
        json.dumps({**asdict(rights), "pictures": pictures}, ensure_ascii=False)
        for rights, pictures in names.items()
    ]
    with atomic_write(path) as file:
        file.write(("[\n" + ",\n".join(rows) + "\n]\n").encode())


def _unpack_package(name: str, folder: Path) -> None:
    partial = folder.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    try:
        subprocess.run(["apt-get", "download", name], cwd=partial, check=True, capture_output=True)
        (archive,) = partial.glob("*.deb")
        subprocess.run(["dpkg-deb", "-x", archive.name, "."], cwd=partial, check=True)
    except (OSError, subprocess.CalledProcessError, ValueError) as error:
        raise EnvironmentMissingError(
            f"The Debian package {name} cannot be downloaded and unpacked: {error}.",
            hint="Run this on Debian or Ubuntu after `apt-get update`.",
        ) from error
    archive.unlink()
    partial.rename(folder)


def _read_package(package: BackgroundPackage, folder: Path) -> Iterator[Background]:
    text = (folder / "usr/share/doc" / package.name / "copyright").read_text(encoding="utf-8")
    copyright_file = CopyrightFile(text)
    pattern = re.compile(package.pattern)
    for path, content in _files(folder, pattern):
        match = pattern.search(path)
        assert match is not None
        rights = copyright_file.rights(package.source_prefix + match[1])
        if rights is None or rights.licence not in LICENCES:
            continue
        picture = _reduced(content, MAX_SIDE_PX[package.kind])
        if picture is not None:
            yield Background(
                name=f"{package.name}/{match[1]}", kind=package.kind, rights=rights, rgb=picture
            )


def _files(folder: Path, pattern: re.Pattern[str]) -> Iterator[tuple[str, bytes]]:
    """Path and content of the matching files, also of those in `.pk3` archives (zip)."""
    for path in sorted(folder.rglob("*")):
        if path.suffix == ".pk3":
            with ZipFile(path) as archive:
                for name in sorted(filter(pattern.search, archive.namelist())):
                    yield name, archive.read(name)
        elif path.is_file() and pattern.search(path.as_posix()):
            yield path.as_posix(), path.read_bytes()


def _reduced(content: bytes, max_side_px: int) -> NDArray[np.uint8] | None:
    """The picture, at most `max_side_px` large; none if it has transparent parts or is tiny."""
    with Image.open(io.BytesIO(content)) as image:
        alpha = image.convert("RGBA").getchannel("A")
        if image.has_transparency_data and np.asarray(alpha).min() < 255:
            return None
        if min(image.size) < 64:
            return None
        image.draft("RGB", (2 * max_side_px, 2 * max_side_px))
        reduced = image.convert("RGB")
        reduced.thumbnail((max_side_px, max_side_px), Image.Resampling.LANCZOS)
        return np.asarray(reduced)


def _scikit_image_textures() -> Iterator[Background]:
    for file_name, rights in SCIKIT_IMAGE_TEXTURES.items():
        content = (Path(skimage.__file__).parent / "data" / file_name).read_bytes()
        picture = _reduced(content, MAX_SIDE_PX["texture"])
        assert picture is not None
        yield Background(
            name=f"scikit-image/{file_name}", kind="texture", rights=rights, rgb=picture
        )
