# SPDX-License-Identifier: GPL-3.0-or-later
"""Every training at another size than the shipped one, from files that somebody brings."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from own_models import render_own_models
from safetensors.torch import load_file
from tiny_preset import VIEW_SIZE_PX, save_tiny_preset
from training_steps import saved

from one2345_blender.contracts.errors import OptionError
from one2345_blender.contracts.job import REFERENCE_SAMPLER
from one2345_blender.pipeline.lifting.photo_lifter import PhotoLifter
from one2345_blender.pipeline.model_cache import load_pipeline
from one2345_blender.pipeline.pipeline_one2345 import One2345Pipeline
from one2345_blender.pipeline.preset_weights import load_reconstruction
from one2345_blender.pipeline.segmenter import ForegroundSegmenter
from one2345_blender.pipeline.zero123.pipeline_zero123 import Zero123Pipeline
from one2345_blender.training import (
    compare_reconstructions,
    predict_views,
    train_lifter,
    train_reconstruction,
    train_segmenter,
    train_views,
    training_loop,
)
from one2345_blender.training.backgrounds import KINDS, Background
from one2345_blender.training.cutouts import NUM_VIEWS
from one2345_blender.training.debian_copyright import Rights
from one2345_blender.training.lifting_data import NUM_DEPTHS
from one2345_blender.training.run_folder import RunFolder, RunProgress, read_log
from one2345_blender.training.train_autoencoder import train_autoencoder
from one2345_blender.training.train_decoder import train_decoder
from one2345_blender.training.train_elevation import train_elevation
from one2345_blender.training.training_options import TrainingOptions
from one2345_blender.training.training_record import TrainedNetwork, Training
from one2345_blender.training.view_data import RigReader, read_split, view_size_px
from one2345_blender.training.view_generator import ViewGenerator
from one2345_blender.training.view_recipes import FROM_GUESS, ONE_STEP, RECIPES

REPOSITORY = Path(__file__).parents[2]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data with two objects to train on and one to validate with, as large as a tiny preset's."""
    return render_own_models(tmp_path_factory.mktemp("own"), VIEW_SIZE_PX)


@pytest.fixture
def data_dir(rendered: Path, tmp_path: Path) -> Path:
    """The same, for one test's runs alone."""
    return Path(shutil.copytree(rendered, tmp_path / "data"))


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A preset like the published one: no guesses, one token of context."""
    return save_tiny_preset(tmp_path_factory.mktemp("published"))


def changed(before: One2345Pipeline, after: One2345Pipeline) -> set[str]:
    """The networks with other weights than before."""
    networks = {n: m for n, m in before.components.items() if isinstance(m, torch.nn.Module)}
    return {
        name
        for name, network in networks.items()
        if any(
            not torch.equal(old, new)
            for old, new in zip(
                network.state_dict().values(),
                after.components[name].state_dict().values(),
                strict=True,
            )
        )
    }


def run_in_two_processes(*arguments: str) -> None:
    """A command of the workshop under torchrun, as on two GPUs."""
    run_in_processes(2, *arguments)


def run_in_processes(number: int, *arguments: str) -> None:
    """The same in so many."""
    launcher = ["-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={number}"]
    done = subprocess.run(
        [sys.executable, *launcher, "-m", "one2345_blender.training", *arguments, "--threads=1"],
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=900,
    )
    assert done.returncode == 0, done.stderr


def test_one_process_and_two_learn_the_same_autoencoder(rendered: Path, tmp_path: Path) -> None:
    """Random views, colours and disturbances belong to the examples, not to the processes.

    Adam's first steps are as long for the smallest gradient as for any: rounding turns some round.
    """
    weights = []
    for number in (1, 2):
        data = Path(shutil.copytree(rendered, tmp_path / f"data_{number}"))
        arguments = ["--data", str(data), "--steps=3", "--batch-size=4"]
        run_in_processes(number, "autoencoder", *arguments, "--learning-rate=1e-2")
        state = load_file(data / "autoencoder" / "state_3" / "network.safetensors")
        weights.append(torch.cat([value.flatten() for value in state.values()]))
    step = 2e-4  # of the last one's length
    assert ((weights[0] - weights[1]).abs() < 0.2 * step).float().mean() > 0.9


def test_a_preset_is_trained_further_by_two_processes(data_dir: Path, published: Path) -> None:
    """Each process reads its share; the result is the preset with other weights where they are
    trained, and goes on from where it was."""
    options = ["--data", str(data_dir), "--start-from", str(published), "--batch-size=4"]
    run_in_two_processes("views", *options, "--shard-data", "--steps=2")
    progress = json.loads((data_dir / "views" / "progress.json").read_text())
    assert (progress["step"], progress["images"], progress["objects"]) == (2, 8, 2)
    after = load_pipeline(data_dir / "views" / "pipeline", CPU)
    assert changed(load_pipeline(published, CPU), after) == {"unet", "clip_camera_projection"}
    train_views.main([*options, "--steps=3", "--resume"])
    progress = json.loads((data_dir / "views" / "progress.json").read_text())
    assert (progress["step"], progress["images"], progress["objects"]) == (3, 12, 2)


def test_views_of_a_preset_are_predicted_and_reconstructed(data_dir: Path, published: Path) -> None:
    preset = ["--data", str(data_dir)]
    predict_views.main([*preset, "--preset", str(published), "--minutes=5", "--steps=2"])
    predicted = list((data_dir / "predicted").iterdir())
    assert len(predicted) == 3
    predicted[1].unlink()
    kept_at = predicted[0].stat().st_mtime_ns
    predict_views.main([*preset, "--preset", str(published), "--minutes=5", "--steps=2"])
    assert predicted[1].is_file() and predicted[0].stat().st_mtime_ns == kept_at
    with np.load(predicted[0]) as arrays:
        assert arrays["rgb"].shape == (1, 32, VIEW_SIZE_PX, VIEW_SIZE_PX, 3)
    export = data_dir / "export"
    few = ["--num-points=300", "--num-surface-points=32", "--num-validation-objects=1"]
    arguments = [*preset, "--start-from", str(published), "--export", str(export), *few]
    run_in_two_processes("reconstruction", *arguments, "--steps=2", "--batch-size=2")
    before, after = load_pipeline(published, CPU).reconstruction, load_reconstruction(export)
    assert after.config["volume_size"] == before.config["volume_size"]
    assert any(
        not torch.equal(value, after.state_dict()[name])
        for name, value in before.state_dict().items()
    )
    run = data_dir / "reconstruction"
    log = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    assert log[-1]["exported"]
    for score in log[-1]["validation"]:
        log[-1]["validation"][score] = 0.0
    (run / "log.jsonl").write_text("\n".join(json.dumps(entry) for entry in log) + "\n")
    train_reconstruction.main([*arguments, "--steps=3", "--batch-size=2", "--resume"])
    best = load_reconstruction(export).state_dict()
    assert all(torch.equal(value, best[name]) for name, value in after.state_dict().items())
    halfway = ["--run", str(data_dir / "halfway"), "--export-share=0.5", "--learning-rate=0.1"]
    train_reconstruction.main([*arguments, "--steps=1", *halfway])
    average = load_file(data_dir / "halfway" / "state_1" / "averaged.safetensors")
    mean = load_reconstruction(export).state_dict()
    for name, value in before.state_dict().items():
        if not value.is_floating_point():
            continue
        torch.testing.assert_close(
            mean[name].float(),
            (value.float() + average[f"reconstructor.{name}"].float()) / 2,
            atol=2e-3,
            rtol=2e-3,
        )
    with pytest.raises(OptionError, match="export-share"):
        train_reconstruction.main([*preset, "--steps=1", "--no-guess", "--export-share=0.5"])
    with pytest.raises(OptionError, match="comes with its sizes"):
        train_reconstruction.main([*arguments, "--steps=2", "--volume-size=16"])


def test_a_preset_that_takes_guesses_brings_its_lifter(data_dir: Path, tmp_path: Path) -> None:
    preset = save_tiny_preset(tmp_path / "preset", lifts_photo=True)
    options = TrainingOptions(data=data_dir, steps=1, batch_size=2, learning_rate=1e-3)
    after = load_pipeline(train_views.train_views(options, preset), CPU)
    before = load_pipeline(preset, CPU)
    assert "photo_lifter" not in changed(before, after)
    assert after.zero123.takes_guess
    steps = after.default_steps(REFERENCE_SAMPLER)
    assert steps == before.default_steps(REFERENCE_SAMPLER) and steps[0] > 1
    train_views.train_views(options, preset, RECIPES["both"])
    at_once = load_pipeline(data_dir / "views" / "pipeline", CPU)
    assert at_once.default_steps(REFERENCE_SAMPLER, scale=2.0) == (1, 1)
    assert at_once.zero123.config.initial_noise_scale == 0.0
    assert ViewGenerator.trained(data_dir).sampling == ONE_STEP
    train_views.train_views(options, preset, RECIPES["from-guess"])
    from_guess = load_pipeline(data_dir / "views" / "pipeline", CPU)
    assert from_guess.zero123.config.strength == FROM_GUESS.strength
    assert ViewGenerator.trained(data_dir).sampling == FROM_GUESS
    with pytest.raises(OptionError, match="would be set aside"):
        train_views.train_views(options, data_dir / "views" / "pipeline")


def test_predicted_views_stand_by_the_true_elevation(data_dir: Path, tmp_path: Path) -> None:
    """Whatever is estimated of the photo; a training of views sees guesses as they are in use."""
    preset = save_tiny_preset(tmp_path / "preset", lifts_photo=True)
    generator = ViewGenerator.of_preset(preset, data_dir)
    estimator = generator.encoders.elevation
    assert estimator is not None
    rigs = RigReader(data_dir, read_split(data_dir, "train"), rigs_per_asset=1).read_new()
    generator = generator.drawing(replace(generator.sampling, num_inference_steps=2))
    predicted, in_use = [], []
    for spread in (0.0, 50.0):
        torch.manual_seed(1)
        for weight in estimator.parameters():
            torch.nn.init.normal_(weight, std=spread)
        predicted.append(predict_views.predict_near_views(generator, rigs))
        in_use.append(generator.guesses(rigs))
    np.testing.assert_array_equal(*predicted)
    assert not np.array_equal(*in_use)


def test_views_start_from_a_guess_only_where_there_is_one(data_dir: Path, published: Path) -> None:
    options = TrainingOptions(data=data_dir, steps=1, batch_size=2)
    with pytest.raises(OptionError, match="takes no guess"):
        train_views.train_views(options, published, RECIPES["from-guess"])
    networks = load_pipeline(published, CPU).zero123.components
    for strength in (0.5, 0.0, 1.5):
        with pytest.raises(OptionError, match=f"strength: .* got {strength:g}"):
            Zero123Pipeline(**networks, strength=strength)


def test_a_presets_lifter_is_trained_further(
    data_dir: Path, published: Path, tmp_path: Path
) -> None:
    preset = save_tiny_preset(tmp_path / "preset", lifts_photo=True)
    arguments = ["--data", str(data_dir), "--steps=2", "--batch-size=2", "--learning-rate=1e-6"]
    with pytest.raises(OptionError, match="8 depth bins, the examples have 32"):
        train_lifter.main([*arguments, "--start-from", str(preset)])
    narrow = {"block_out_channels": (16, 16, 32), "attention_head_dim": 8}
    lifter = PhotoLifter(image_size_px=VIEW_SIZE_PX, num_depths=NUM_DEPTHS, **narrow)
    lifter.save_pretrained(preset / "photo_lifter")
    train_lifter.main([*arguments, "--start-from", str(preset)])
    before = load_pipeline(preset, CPU).photo_lifter
    after = PhotoLifter.from_pretrained(data_dir / "lifter" / "photo_lifter")
    assert after.config["num_depths"] == before.config["num_depths"]
    moved = [
        (value - after.state_dict()[name]).abs().max()
        for name, value in before.state_dict().items()
    ]
    assert 0.0 < max(moved) < 1e-4
    record = TrainedNetwork(trainings=[Training(run_id="a", steps=1, hours=0.1, objects=1)])
    record.add(data_dir / "lifter")
    assert [training.steps for training in record.trainings] == [1, 2]
    with pytest.raises(OptionError, match="has no lifter"):
        train_lifter.main([*arguments, "--start-from", str(published)])


def test_another_size_than_the_presets_is_refused(data_dir: Path, tmp_path: Path) -> None:
    folder = tmp_path / "large"
    large = render_own_models(folder, 2 * VIEW_SIZE_PX)
    preset = save_tiny_preset(tmp_path / "preset", lifts_photo=True)
    for main in (train_views.main, train_reconstruction.main, train_lifter.main):
        with pytest.raises(OptionError, match=f"{2 * VIEW_SIZE_PX} px") as caught:
            main(["--data", str(large), "--start-from", str(preset), "--steps=1"])
        assert f"--size {VIEW_SIZE_PX}" in caught.value.hint
    with pytest.raises(OptionError, match="there are none"):
        view_size_px(tmp_path)


def test_all_networks_take_the_size_of_the_renders(data_dir: Path) -> None:
    """The shipped recipe, each training a step long."""
    options = TrainingOptions(data=data_dir, steps=1, batch_size=2, rigs_per_asset=1)
    for train in (train_autoencoder, train_decoder, train_elevation, train_lifter.train_lifter):
        train(options)
    pipeline = Zero123Pipeline.from_pretrained(train_views.train_views(options))
    assert pipeline.unet.config.sample_size * pipeline.pixels_per_latent == VIEW_SIZE_PX
    views = ViewGenerator.trained(data_dir).zero123
    assert views.takes_guess
    assert not ViewGenerator.untrained(data_dir, 0, RECIPES["no-patches"]).is_published
    few = ["--num-points=300", "--num-surface-points=32", "--num-validation-objects=1"]
    arguments = ["--data", str(data_dir), "--steps=1", *few, "--export", str(data_dir / "export")]
    train_reconstruction.main([*arguments, "--volume-size=16", "--export-volume-size=24"])
    config = load_reconstruction(data_dir / "export").config
    assert (config["volume_size"], config["image_size_px"]) == (24, VIEW_SIZE_PX)
    for run in ("autoencoder", "decoder", "elevation", "lifter", "views", "reconstruction"):
        progress = json.loads((data_dir / run / "progress.json").read_text())
        assert progress["objects"] == 2


def test_a_segmenter_is_trained_on_composites_of_the_models(
    rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those that somebody brings, over pictures that are not downloaded here."""
    grey = np.random.default_rng(0).integers(100, 160, (8, 96, 96, 3), np.uint8)
    free = Rights(licence="CC0-1.0", copyright="nobody")
    backgrounds = [
        Background(name=f"{kind} {number}", kind=kind, rights=free, rgb=rgb)
        for kind in KINDS
        for number, rgb in enumerate(grey.repeat(8, axis=0))
    ]
    monkeypatch.setattr(train_segmenter, "read_backgrounds", lambda _data_dir: backgrounds)
    monkeypatch.setattr(train_segmenter, "MANIFEST_PATH", rendered.parent / "manifest.json")
    monkeypatch.setattr(train_segmenter, "PACKAGES_DIR", rendered.parent)
    options = TrainingOptions(data=tmp_path, steps=1)
    trained = ForegroundSegmenter.from_pretrained(train_segmenter.train_segmenter(options))
    torch.manual_seed(options.seed)
    untrained = ForegroundSegmenter().state_dict()
    assert any(not torch.equal(value, untrained[n]) for n, value in trained.state_dict().items())
    start, score = read_log(tmp_path / "segmenter")
    assert start["cutouts"] == 2 * NUM_VIEWS["train"]
    assert 0.0 <= score["iou"] < 1.0
    progress = json.loads((tmp_path / "segmenter" / "progress.json").read_text())
    assert (progress["images"], progress["objects"]) == (train_segmenter.BATCH_SIZE, 2)


def interrupted_after(step: int, monkeypatch: pytest.MonkeyPatch, train: Callable[[], Any]) -> None:
    """The training, stopped as soon as the state of that step is saved."""
    save = RunFolder.save

    def last_save(run: RunFolder, progress: RunProgress, *state: Any) -> None:
        save(run, progress, *state)
        if progress.step == step:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(training_loop, "SAVE_EVERY_S", 0.0)
        patch.setattr(RunFolder, "save", last_save)
        with pytest.raises(KeyboardInterrupt):
            train()


@pytest.mark.parametrize("name", ["lifter", "views", "reconstruction"])
def test_a_resumed_network_is_the_uninterrupted_one(
    name: str, rendered: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Bit by bit, with all that is drawn at random for it."""
    preset = save_tiny_preset(tmp_path / "preset", lifts_photo=True)
    few = ["--num-points=300", "--num-surface-points=32", "--num-validation-objects=1"]
    own = {
        "lifter": [],
        "views": ["--start-from", str(preset)],
        "reconstruction": ["--start-from", str(preset), *few],
    }[name]
    main = {"lifter": train_lifter, "views": train_views, "reconstruction": train_reconstruction}
    runs = []
    for kind in ("whole", "parts"):
        data = Path(shutil.copytree(rendered, tmp_path / kind))
        arguments = ["--data", str(data), "--steps=3", "--batch-size=2", *own]
        if name == "reconstruction":
            arguments += ["--export", str(data / "export")]
        if kind == "parts":
            interrupted_after(2, monkeypatch, partial(main[name].main, list(arguments)))
            arguments.append("--resume")
        main[name].main(arguments)
        runs.append(saved(data / name))
    whole, parts = runs
    assert whole.keys() == parts.keys()
    assert all(torch.equal(value, parts[key]) for key, value in whole.items())


def test_recipes_of_the_reconstruction_are_compared(
    data_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    few = ["--num-points=300", "--num-surface-points=32", "--num-validation-objects=1"]
    arguments = ["--data", str(data_dir), "--steps=1", "--no-guess", "--volume-size=16", *few]
    compare_reconstructions.main([*arguments, "--recipes", "rays", "no-photo", "stage-1-views"])
    *_, header, _, rays, no_photo, stage1 = capsys.readouterr().out.splitlines()
    assert header.startswith("| recipe | steps | minutes | true_iou")
    rows = {"rays": rays, "no-photo": no_photo, "stage-1-views": stage1}
    assert all(row.startswith(f"| {name} | 1 |") for name, row in rows.items())
    log = (data_dir / "compare_reconstructions" / "rays" / "log.jsonl").read_text()
    assert "true_sdf_l1" in log


def test_a_reconstruction_of_images_alone_needs_no_lifter(data_dir: Path) -> None:
    few = ["--num-points=300", "--num-surface-points=32", "--num-validation-objects=1"]
    sizes = ["--volume-size=16", "--export-volume-size=16"]
    arguments = ["--data", str(data_dir), "--steps=1", "--no-guess", *sizes, *few]
    train_reconstruction.main([*arguments, "--export", str(data_dir / "export")])
    assert not load_reconstruction(data_dir / "export").config["takes_guess"]
