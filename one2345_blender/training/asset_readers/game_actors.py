# SPDX-License-Identifier: GPL-3.0-or-later
"""The models of the game 0 A.D.: actors (XML) that pair meshes (PMD) with textures (DDS).

An actor is a list of groups; the game takes one variant of each. A model here is one mesh that any
variant names, with the texture that goes with it and without the props attached to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from xml.etree.ElementTree import Element, ParseError, fromstring
from zipfile import BadZipFile, ZipFile

import numpy as np
from numpy.typing import NDArray

from .archive_folder import decode_texture
from .model_entry import ModelEntry, slug_of
from .obj_model import ModelFileError
from .pmd_mesh import read_pmd
from .textured_model import MeshPart, TexturedModel

ACTORS, VARIANTS, MESHES = "art/actors/", "art/variants/", "art/meshes/"
SKINS = "art/textures/skins/"
CREATOR = "Wildfire Games"
PLAYER_COLORS = (
    (21, 55, 149),
    (150, 20, 20),
    (50, 165, 5),
    (230, 230, 75),
    (50, 170, 170),
    (160, 80, 200),
    (235, 120, 20),
    (64, 64, 64),
)
"""The game's own, sRGB; each model gets one."""
UNUSABLE_MATERIALS = ("aura", "player_water", "waterfall", "terrain_")
"""Begin the names of materials that show no solid thing."""

_MESH_ENDING, _TEXTURE_ENDING = ".cached.pmd", ".cached.dds"
_PARENT_DEPTH = 4
_MODEL_FROM_PMD = np.array([[-1.0, 0.0, 0.0], [0.0, 0.0, -1.0], [0.0, 1.0, 0.0]], np.float32)
"""Left-handed with y up and the front towards +z, to ours (+Z up, front towards -Y)."""


@dataclass(frozen=True, kw_only=True)
class ActorEntry(ModelEntry):
    """One mesh with its texture."""

    texture_path: str
    """Member of the archive."""
    material: str
    """What the texture's alpha means: opacity, a colour's place, or nothing."""
    color: tuple[int, int, int] | None
    """sRGB, where the material is tinted by the object's own colour."""

    @property
    def slug(self) -> str:
        """From the whole path: file names are not unique."""
        return slug_of(self.model_path.removeprefix(MESHES).split(".")[0])


def read_entries(path: Path) -> tuple[ActorEntry, ...]:
    """Every mesh that an actor shows with a texture, the first such actor's, in order of actors.

    Raises:
        ModelFileError: `path` is no archive of the game.
    """
    archive = _open(path)
    members = set(archive.namelist())
    entries: dict[str, ActorEntry] = {}
    for member in sorted(members):
        if member.startswith(ACTORS) and member.endswith(".xml"):
            for entry in _actor_entries(archive, members, member):
                entries.setdefault(entry.model_path, entry)
    if not entries:
        raise ModelFileError(
            f"Expected actors of 0 A.D. in {path}, but there are none.",
            hint="Run scripts/install_training_packages.sh.",
        )
    return tuple(entries.values())


def load_model(path: Path, entry: ModelEntry) -> TexturedModel:
    """The model of an entry, upright, front towards -Y.

    Raises:
        ModelFileError: The mesh or its texture is missing or damaged.
    """
    assert isinstance(entry, ActorEntry)
    archive = _open(path)
    mesh = read_pmd(archive.read(entry.model_path), entry.model_path)
    texture = decode_texture(archive.read(entry.texture_path))
    if texture is None or not len(mesh.triangles):
        raise ModelFileError(
            f"Expected triangles and a texture for {entry.model_path}, but there are none.",
            hint="Leave this model out.",
        )
    corners = mesh.triangles.reshape(-1)
    part = MeshPart(
        positions=(mesh.positions @ _MODEL_FROM_PMD.T)[corners],
        normals=(mesh.normals @ _MODEL_FROM_PMD.T)[corners],
        uv=mesh.uv[corners],
        base_color=(1.0, 1.0, 1.0),
        opacity=1.0,
        texture=_tinted(texture, entry),
    )
    return TexturedModel(parts=(part,))


@lru_cache(maxsize=1)
def _open(path: Path) -> ZipFile:
    """The archive; its directory of 36,000 members is read once in a process."""
    try:
        return ZipFile(path)
    except (OSError, BadZipFile) as error:
        raise ModelFileError(
            f"Expected the archive of 0 A.D. at {path}, but it cannot be read.",
            hint="Run scripts/install_training_packages.sh.",
        ) from error


def _actor_entries(archive: ZipFile, members: set[str], member: str) -> Iterator[ActorEntry]:
    actor = _parse(archive, member)
    material = (actor.findtext("material") or "default.xml").removesuffix(".xml")
    if actor.tag != "actor" or material.startswith(UNUSABLE_MATERIALS):
        return
    groups = [
        [_resolved(archive, members, variant, _PARENT_DEPTH) for variant in group.iter("variant")]
        for group in actor.iter("group")
    ]
    for group in groups:
        usual = [max(other, key=_frequency) for other in groups if other and other is not group]
        for variant in group:
            mesh = (variant.findtext("mesh") or "").strip()
            texture = _texture(variant) or next(filter(None, map(_texture, usual)), "")
            model_path = f"{MESHES}{mesh}{_MESH_ENDING}"
            texture_path = f"{SKINS}{texture}{_TEXTURE_ENDING}"
            if model_path in members and texture_path in members:
                name = member.removeprefix(ACTORS).removesuffix(".xml")
                yield ActorEntry(
                    name=name.rpartition("/")[2].replace("_", " "),
                    creator=CREATOR,
                    category="/".join(name.split("/")[:-1][:2]),
                    model_path=model_path,
                    texture_path=texture_path,
                    material=material,
                    color=_color(variant) or next(filter(None, map(_color, usual)), None),
                )


def _resolved(archive: ZipFile, members: set[str], variant: Element, depth: int) -> Element:
    """The variant, with what the file it builds upon adds behind its own."""
    parent_path = VARIANTS + variant.get("file", "")
    if parent_path not in members or not depth:
        return variant
    parent = _resolved(archive, members, _parse(archive, parent_path), depth - 1)
    joined = Element("variant", variant.attrib)
    joined.extend([*variant, *parent])
    return joined


def _parse(archive: ZipFile, member: str) -> Element:
    try:
        return fromstring(archive.read(member))
    except ParseError as error:
        raise ModelFileError(
            f"Expected XML in {member}: {error}.", hint="Install the package again."
        ) from error


def _frequency(variant: Element) -> float:
    return float(variant.get("frequency", "0") or 0)


def _texture(variant: Element) -> str:
    """The file of the variant's own colour texture, or nothing."""
    files = (t.get("file", "") for t in variant.iter("texture") if t.get("name") == "baseTex")
    return next(files, "")


def _color(variant: Element) -> tuple[int, int, int] | None:
    words = (variant.findtext("color") or "").split()
    return (int(words[0]), int(words[1]), int(words[2])) if len(words) == 3 else None


def _tinted(texture: NDArray[np.uint8], entry: ActorEntry) -> NDArray[np.uint8]:
    """The texture as the material shows it, alpha meaning opacity and nothing else.

    Materials for players and coloured objects are tinted where alpha is low; those with `trans` in
    their names are transparent there; all others ignore alpha.
    """
    if entry.material.startswith(("player", "objectcolor")):
        tint = entry.color or PLAYER_COLORS[_stable_number(entry.model_path) % len(PLAYER_COLORS)]
        share = texture[..., 3:].astype(np.float32) / 255.0
        factor = share + (1.0 - share) * np.array(tint, np.float32) / 255.0
        rgb = (texture[..., :3] * factor).round().astype(np.uint8)
        return np.dstack([rgb, np.full(rgb.shape[:2], 255, np.uint8)])
    if "basic_trans" in entry.material or entry.material.startswith("trans"):
        return texture
    return np.dstack([texture[..., :3], np.full(texture.shape[:2], 255, np.uint8)])


def _stable_number(text: str) -> int:
    return hashlib.sha256(text.encode()).digest()[0]
