# SPDX-License-Identifier: GPL-3.0-or-later
"""The commands from files to files, with a tiny preset and with the embedded one."""

from __future__ import annotations

import json
import pickle  # noqa: TID251 - made here to see it refused
import shutil
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from one2345_blender import cli
from one2345_blender.contracts.mesh import load_npz
from one2345_blender.contracts.transforms_json import read_transforms

pytest.importorskip("torch")

import torch
from PIL import Image, ImageDraw

FILES = {"mesh.npz", "mesh.ply", "mesh.glb", "transforms.json", "report.json", "views"}
MESH_FILES = ("mesh.npz", "mesh.ply", "mesh.glb")


@pytest.fixture(scope="session")
def photo(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An orange ball on nothing, in a folder whose name has spaces and more than ASCII."""
    image = Image.new("RGBA", (96, 80))
    ImageDraw.Draw(image).ellipse((20, 12, 76, 68), fill=(220, 110, 30, 255))
    path = tmp_path_factory.mktemp("mes photos été 写真") / "ball of clay.png"
    image.save(path)
    return path


@pytest.fixture(scope="session")
def converted(photo: Path, tiny_preset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The results of one conversion."""
    output = tmp_path_factory.mktemp("converted")
    assert convert(photo, tiny_preset, output, seed=7) == cli.EXIT_DONE
    return output


def convert(photo: Path, preset: Path, output: Path, *more: str, seed: int) -> int:
    options = ["--preset", str(preset), "--output", str(output), "--seed", str(seed), *more]
    return cli.main(["convert", str(photo), *options, "--elevation-deg", "20"])


def test_convert_writes_every_file(converted: Path) -> None:
    assert {path.name for path in converted.iterdir()} >= FILES
    assert len(list((converted / "views").glob("*.png"))) == 40
    assert len(read_transforms(converted).cameras.names) == 32
    report = json.loads((converted / "report.json").read_text())
    assert report["seed"] == 7
    assert report["elevation"]["elevation_deg"] == 20.0
    assert report["num_faces"] == len(load_npz(converted / "mesh.npz").faces)


def test_same_seed_same_bytes(
    photo: Path, tiny_preset: Path, converted: Path, tmp_path: Path
) -> None:
    assert convert(photo, tiny_preset, tmp_path / "same", seed=7) == cli.EXIT_DONE
    assert convert(photo, tiny_preset, tmp_path / "other", seed=8) == cli.EXIT_DONE
    for name in MESH_FILES:
        first = (converted / name).read_bytes()
        assert first == (tmp_path / "same" / name).read_bytes()
        assert first != (tmp_path / "other" / name).read_bytes()


def test_reconstruct_reads_what_convert_wrote(
    converted: Path, tiny_preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--output", str(tmp_path), "--resolution", "24", "--json"]
    checkpoint = ["--checkpoint", str(tiny_preset / "reconstruction"), "--device", "cpu"]
    assert cli.main(["reconstruct", str(converted), *arguments, *checkpoint]) == cli.EXIT_DONE
    printed = json.loads(capsys.readouterr().out)
    assert printed["num_views"] == 32
    assert (printed["device"], printed["dtype"]) == ("cpu", "float32")
    assert Path(printed["files"]["mesh_ply"]).is_file()
    again, first = load_npz(tmp_path / "mesh.npz"), load_npz(converted / "mesh.npz")
    np.testing.assert_allclose(again.vertices.mean(0), first.vertices.mean(0), atol=0.02)


def test_views_are_where_they_were_asked_for(
    photo: Path, tiny_preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    angles = ["--azimuth-deg", "-45", "90", "--elevation-deg", "-10"]
    options = ["--preset", str(tiny_preset), "--output", str(tmp_path)]
    assert cli.main(["views", str(photo), *options, *angles]) == cli.EXIT_DONE
    captured = capsys.readouterr()
    pictures = [Path(line) for line in captured.out.splitlines()]
    assert [path.name for path in pictures] == [
        "azimuth-45_elevation-10.png",
        "azimuth+90_elevation-10.png",
    ]
    assert {Image.open(path).size for path in pictures} == {(32, 32)}
    assert "[3/10] views_stage1" in captured.err


def test_views_say_what_computed_them(
    photo: Path, tiny_preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ["--preset", str(tiny_preset), "--output", str(tmp_path), "--azimuth-deg", "90"]
    assert cli.main(["views", str(photo), *options, "--device", "cpu", "--json"]) == cli.EXIT_DONE
    printed = json.loads(capsys.readouterr().out)
    assert (printed["device"], printed["dtype"]) == ("cpu", "float32")


def text_file(folder: Path) -> Path:
    path = folder / "words.png"
    path.write_text("not a picture")
    return path


def truncated(folder: Path) -> Path:
    path = folder / "half.png"
    Image.effect_noise((64, 64), 50).save(path)
    path.write_bytes(path.read_bytes()[:1000])
    return path


def picture(mode: str, size: tuple[int, int], color: object) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        Image.new(mode, size, color).save(folder / "made.png")
        return folder / "made.png"

    return make


@pytest.mark.parametrize(
    "make",
    [
        lambda folder: folder / "missing.png",
        lambda folder: folder,
        text_file,
        truncated,
        picture("RGBA", (1, 1), (255, 0, 0, 255)),
        picture("RGBA", (64, 64), (255, 0, 0, 0)),
    ],
    ids=["missing", "folder", "text", "truncated", "1x1", "transparent"],
)
def test_bad_picture(
    make: Callable[[Path], Path],
    tiny_preset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    output = tmp_path / "output"
    assert convert(make(tmp_path), tiny_preset, output, seed=0) == cli.EXIT_BAD_INPUT
    assert_one_error(capsys)
    assert_nothing_written(output)


@pytest.mark.skipif(sys.platform != "linux", reason="only there the CPU's memory can be limited")
def test_memory_limit(
    photo: Path, tiny_preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    limit = ("--device", "cpu", "--memory-limit-gb", "0.1")
    assert convert(photo, tiny_preset, tmp_path, *limit, seed=0) == cli.EXIT_BAD_INPUT
    assert "limit is 0.1 GB" in assert_one_error(capsys)


def test_unknown_preset(photo: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(photo, Path("enormous"), tmp_path, seed=0) == cli.EXIT_BAD_INPUT
    assert "embedded" in assert_one_error(capsys)


def test_damaged_preset(
    photo: Path, tiny_preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    preset = shutil.copytree(tiny_preset, tmp_path / "preset")
    (weights,) = (preset / "unet").glob("*.safetensors")
    weights.write_bytes(weights.read_bytes()[:5000])
    assert convert(photo, preset, tmp_path / "output", seed=0) == cli.EXIT_BAD_INPUT
    assert str(preset) in assert_one_error(capsys)
    assert_nothing_written(tmp_path / "output")


def test_output_that_is_a_file(
    photo: Path, tiny_preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "taken").write_text("")
    assert convert(photo, tiny_preset, tmp_path / "taken", seed=0) == cli.EXIT_BAD_INPUT
    assert "taken" in assert_one_error(capsys)


@pytest.mark.parametrize("damage", ["no-file", "no-frames", "nan", "no-picture"])
def test_bad_posed_images(
    damage: str,
    converted: Path,
    tiny_preset: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    folder = shutil.copytree(converted, tmp_path / "posed")
    path = folder / "transforms.json"
    document = json.loads(path.read_text())
    match damage:
        case "no-file":
            path.unlink()
        case "no-frames":
            del document["frames"]
        case "nan":
            document["frames"][1]["transform_matrix"][0][3] = float("nan")
        case "no-picture":
            (folder / document["frames"][2]["file_path"]).unlink()
    if damage in ("no-frames", "nan"):
        path.write_text(json.dumps(document))
    checkpoint = ["--checkpoint", str(tiny_preset / "reconstruction")]
    output = tmp_path / "output"
    arguments = ["reconstruct", str(folder), "--output", str(output), *checkpoint]
    assert cli.main(arguments) == cli.EXIT_BAD_INPUT
    assert "transforms.json" in assert_one_error(capsys)
    assert_nothing_written(output)


class Trap:
    """Unpickling it would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.path, "caught")


@pytest.mark.parametrize("kind", ["missing", "text", "code", "no-tensors"])
def test_bad_checkpoint(
    kind: str, converted: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "weights.pth"
    match kind:
        case "text":
            checkpoint.write_text("not weights")
        case "code":
            checkpoint.write_bytes(pickle.dumps(Trap(tmp_path / "caught")))
        case "no-tensors":
            torch.save({"sdf_network_lod0": {}}, checkpoint)
    output = tmp_path / "output"
    arguments = ["--output", str(output), "--checkpoint", str(checkpoint)]
    assert cli.main(["reconstruct", str(converted), *arguments]) == cli.EXIT_BAD_INPUT
    assert_one_error(capsys)
    assert not (tmp_path / "caught").exists()
    assert_nothing_written(output)


@pytest.mark.preset
def test_embedded_preset_converts(photo: Path, tmp_path: Path) -> None:
    few = ["--num-inference-steps-stage1", "4", "--num-inference-steps-stage2", "2"]
    options = ["--output", str(tmp_path), "--elevation-deg", "20", "--resolution", "32"]
    assert cli.main(["convert", str(photo), *options, *few]) == cli.EXIT_DONE
    assert {path.name for path in tmp_path.iterdir()} >= FILES


def assert_one_error(capsys: pytest.CaptureFixture[str]) -> str:
    """stderr ends with one error and one hint; the error."""
    lines = capsys.readouterr().err.splitlines()
    assert [line.split(": ")[0] for line in lines[-2:]] == ["error", "hint"]
    assert sum(line.startswith(("error:", "Traceback")) for line in lines) == 1
    assert len(lines[-1]) > len("hint: ")
    return lines[-2]


def assert_nothing_written(output: Path) -> None:
    assert not output.exists() or list(output.iterdir()) == []
