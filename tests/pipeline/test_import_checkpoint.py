# SPDX-License-Identifier: GPL-3.0-or-later
"""Published weights, in every form, become the folder of a preset that the command line runs."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
from PIL import Image
from safetensors.torch import load_file, save_file
from transformers import CLIPVisionModelWithProjection

from one2345_blender.cli import EXIT_BAD_INPUT, EXIT_DONE, main
from one2345_blender.contracts.errors import CheckpointError, OptionError, OutputError
from one2345_blender.contracts.job import FAST_SAMPLER, REFERENCE_SAMPLER, SAMPLERS
from one2345_blender.pipeline.import_checkpoint import import_checkpoint
from one2345_blender.pipeline.preset_weights import load_reconstruction
from one2345_blender.pipeline.zero123.camera_projection import CLIPCameraProjection
from one2345_blender.pipeline.zero123.network_configs import ORIGINAL_NETWORKS, build_networks

GOLDEN = Path(__file__).parents[1] / "golden"
CONFIG_JSON = GOLDEN / "zero123_small_config.json"
RECONSTRUCTION_PTH = GOLDEN / "original_reconstruction_seed0.pth"
CLASSES = {
    "unet": UNet2DConditionModel,
    "vae": AutoencoderKL,
    "image_encoder": CLIPVisionModelWithProjection,
    "clip_camera_projection": CLIPCameraProjection,
    "scheduler": DDIMScheduler,
}


@pytest.fixture(scope="module")
def tensors() -> dict[str, torch.Tensor]:
    """The keys and shapes of the original's layout, with small random half-precision weights."""
    with np.load(GOLDEN / "zero123_sampler.npz") as golden:
        lines = [line.split() for line in str(golden["ldm_keys"]).splitlines()]
    generator = torch.Generator().manual_seed(0)
    return {
        name: (torch.randn([int(size) for size in shape], generator=generator) * 0.02).half()
        for name, *shape in lines
    }


@pytest.fixture(scope="module")
def preset(tensors: dict[str, torch.Tensor], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder made of a checkpoint file as a training run leaves it."""
    folder = tmp_path_factory.mktemp("import")
    buffers = {"betas": torch.zeros(4), "cond_stage_model.mean": torch.zeros(3)}
    torch.save({"state_dict": tensors | buffers, "global_step": 7}, folder / "zero123.ckpt")
    result = import_checkpoint(folder / "zero123.ckpt", folder / "preset", CONFIG_JSON)
    assert json.loads(Path(result.files["model_index"]).read_text())["_class_name"]
    return folder / "preset"


def published_copy(preset: Path, folder: Path) -> Path:
    """The same weights under the names that others gave them."""
    for name in ("unet", "vae", "image_encoder"):
        shutil.copytree(preset / name, folder / name)
    plain = folder / "unet" / "diffusion_pytorch_model.safetensors"
    averaged = load_file(plain)
    save_file(averaged, plain.with_suffix(".fp16_ema.safetensors"))
    save_file({key: value + 1 for key, value in averaged.items()}, plain)

    old_names = {"to_q": "query", "to_k": "key", "to_v": "value", "to_out.0": "proj_attn"}
    path = folder / "vae" / "diffusion_pytorch_model.safetensors"
    vae = load_file(path)
    path.unlink()
    for new, old in old_names.items():
        vae = {key.replace(f".{new}.", f".{old}."): value for key, value in vae.items()}
    torch.save(vae, path.with_suffix(".bin"))

    path = folder / "image_encoder" / "model.safetensors"
    tower = load_file(path)
    prefixed = {
        key if key.startswith(("vision_model.", "visual_")) else f"vision_model.{key}": value
        for key, value in tower.items()
    }
    positions = {"vision_model.embeddings.position_ids": torch.arange(4)[None]}
    save_file(prefixed | positions, path)

    projection = load_file(
        preset / "clip_camera_projection" / "diffusion_pytorch_model.safetensors"
    )
    (folder / "cc_projection").mkdir()
    save_file(
        {key.replace("proj.", "projection."): value for key, value in projection.items()},
        folder / "cc_projection" / "diffusion_pytorch_model.safetensors",
    )
    index = {"_class_name": "Zero1to3StableDiffusionPipeline", "unet": ["diffusers", "Evil"]}
    (folder / "model_index.json").write_text(json.dumps(index))
    return folder


def all_tensors(preset: Path) -> dict[str, torch.Tensor]:
    return {
        f"{name}.{key}": value
        for name in sorted(CLASSES.keys() - {"scheduler"})
        for path in (preset / name).glob("*.safetensors")
        for key, value in load_file(path).items()
    }


def test_each_part_loads_by_its_class(preset: Path, tensors: dict[str, torch.Tensor]) -> None:
    parts = {name: cls.from_pretrained(preset / name) for name, cls in CLASSES.items()}
    assert {tensor.dtype for tensor in all_tensors(preset).values()} == {torch.float16}
    bias = tensors["model.diffusion_model.out.2.bias"]
    assert torch.equal(parts["unet"].conv_out.bias, bias.float())
    projection = tensors["cc_projection.weight"].float()
    assert torch.equal(parts["clip_camera_projection"].proj.weight, projection)
    assert parts["scheduler"].config.timestep_spacing == "leading"


def test_published_folder_gives_the_same_preset(preset: Path, tmp_path: Path) -> None:
    published = published_copy(preset, tmp_path / "published")
    import_checkpoint(published, tmp_path / "imported")
    ours, theirs = all_tensors(tmp_path / "imported"), all_tensors(preset)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"cc_projection.bias": None}, "clip_camera_projection.*1 missing"),
        ({"first_stage_model.extra": torch.zeros(1)}, "extra"),
        ({"cc_projection.weight": torch.zeros(768, 768)}, r"\(768, 768\), expected \(768, 772\)"),
    ],
)
def test_what_does_not_fit_is_named(
    tensors: dict[str, torch.Tensor],
    tmp_path: Path,
    change: dict[str, torch.Tensor | None],
    named: str,
) -> None:
    changed: dict[str, Any] = tensors | change
    kept = {key: value for key, value in changed.items() if value is not None}
    save_file(kept, tmp_path / "zero123.safetensors")
    with pytest.raises(CheckpointError, match=named):
        import_checkpoint(tmp_path / "zero123.safetensors", tmp_path / "out", CONFIG_JSON)
    assert not (tmp_path / "out").exists()


def test_sizes_of_the_published_networks() -> None:
    """As many parameters as the published ones have."""
    with torch.device("meta"):
        networks = build_networks(ORIGINAL_NETWORKS)
    numbers = {name: sum(p.numel() for p in net.parameters()) for name, net in networks.items()}
    assert numbers == {
        "unet": 859_532_484,
        "vae": 83_653_863,
        "image_encoder": 303_966_208,
        "clip_camera_projection": 593_664,
    }


def picture(folder: Path) -> Path:
    rgba = np.zeros((64, 64, 4), np.uint8)
    rgba[16:48, 16:48] = (200, 120, 40, 255)
    Image.fromarray(rgba).save(folder / "square.png")
    return folder / "square.png"


def test_views_run_on_the_imported_folder_with_the_fast_sampler(
    preset: Path, tmp_path: Path
) -> None:
    options = ["--preset", str(preset), "--num-inference-steps", "2", "--device", "cpu"]
    views = {}
    for name, sampler in (("default", []), *((s, ["--sampler", s]) for s in SAMPLERS)):
        options_here = [*options, *sampler, "--output", str(tmp_path / name)]
        command = ["views", str(picture(tmp_path)), "--azimuth-deg", "90", *options_here]
        assert main(command) == EXIT_DONE
        with Image.open(tmp_path / name / "azimuth+90_elevation+0.png") as view:
            views[name] = np.asarray(view)
    assert views["default"].shape == (256, 256, 3)
    np.testing.assert_array_equal(views["default"], views[FAST_SAMPLER])
    assert (views["default"] != views[REFERENCE_SAMPLER]).any()


def test_a_conversion_asks_for_the_other_half(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["convert", str(picture(tmp_path)), "--preset", str(preset), "--device", "cpu"]
    assert main([*command, "--output", str(tmp_path / "out")]) == EXIT_BAD_INPUT
    assert "import-checkpoint ckpt_215000.pth" in capsys.readouterr().err


def test_a_published_folder_is_no_preset_yet(
    preset: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = published_copy(preset, tmp_path / "published")
    command = ["views", str(picture(tmp_path)), "--preset", str(published), "--azimuth-deg", "90"]
    assert main([*command, "--output", str(tmp_path / "out")]) == EXIT_BAD_INPUT
    assert "import-checkpoint" in capsys.readouterr().err


def test_a_folder_is_not_imported_into_itself(preset: Path, tmp_path: Path) -> None:
    published = published_copy(preset, tmp_path / "published")
    before = all_tensors(published)
    with pytest.raises(OptionError, match="another folder than the source"):
        import_checkpoint(published, tmp_path / "elsewhere" / ".." / "published")
    after = all_tensors(published)
    assert all(torch.equal(after[key], before[key]) for key in before)


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files as Linux does")
@pytest.mark.parametrize(
    ("part", "max_file_bytes"), [("reconstruction", 100_000), ("segmenter", 20_000_000)]
)
def test_a_disk_that_is_full_is_an_error_that_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, part: str, max_file_bytes: int
) -> None:
    import resource

    packaged = tmp_path / "packaged"
    (packaged / "segmenter").mkdir(parents=True)
    (packaged / "segmenter" / "large.safetensors").write_bytes(bytes(20_000_001))
    monkeypatch.setattr(
        "one2345_blender.pipeline.import_checkpoint.packaged_preset", lambda name: packaged
    )
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max_file_bytes, limits[1]))
    try:
        with pytest.raises(
            OutputError, match=rf"Could not write .*{part}: .*File too large"
        ) as caught:
            import_checkpoint(RECONSTRUCTION_PTH, tmp_path / "preset")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert "free space" in caught.value.hint
    assert not (tmp_path / "preset" / "model_index.json").exists()


def test_a_sampler_that_was_chosen_stays(preset: Path, tmp_path: Path) -> None:
    shutil.copytree(preset, tmp_path / "preset")
    path = tmp_path / "preset" / "model_index.json"
    index = json.loads(path.read_text())
    assert index["sampler"] == FAST_SAMPLER
    path.write_text(json.dumps(index | {"sampler": REFERENCE_SAMPLER}))
    import_checkpoint(RECONSTRUCTION_PTH, tmp_path / "preset")
    assert json.loads(path.read_text())["sampler"] == REFERENCE_SAMPLER


def test_reconstruction_checkpoint_joins_the_folder(preset: Path, tmp_path: Path) -> None:
    shutil.copytree(preset, tmp_path / "preset")
    command = ["import-checkpoint", str(RECONSTRUCTION_PTH), "--output", str(tmp_path / "preset")]
    assert main(command) == EXIT_DONE
    index = json.loads((tmp_path / "preset" / "model_index.json").read_text())
    assert {"unet", "reconstruction", "segmenter"} <= index.keys()
    ours = load_reconstruction(tmp_path / "preset" / "reconstruction").state_dict()
    theirs = load_reconstruction(RECONSTRUCTION_PTH).state_dict()
    assert all(torch.equal(ours[key], theirs[key]) for key in theirs)
