# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole method with tiny untrained networks: what it asks for, says, keeps and repeats."""

import json
import shutil
from itertools import pairwise

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import load_file, save_file
from tiny_preset import save_tiny_preset

from one2345_blender.contracts.errors import Cancelled, CheckpointError, OptionError
from one2345_blender.contracts.job import FAST_SAMPLER, REFERENCE_SAMPLER, SAMPLERS, JobSpec
from one2345_blender.contracts.progress import (
    STAGES,
    StageStarted,
    StepDone,
    ViewReady,
    WarningRaised,
)
from one2345_blender.pipeline.convert import convert_image
from one2345_blender.pipeline.elevation import PRIOR_ELEVATION_DEG
from one2345_blender.pipeline.model_cache import ModelCache
from one2345_blender.pipeline.preset_folders import MODEL_INDEX, preset_folder
from one2345_blender.pipeline.view_schedule import method_viewpoints


@pytest.fixture(scope="module")
def models():
    return ModelCache()


@pytest.fixture
def pipeline(models, tiny_preset):
    return models.get(str(tiny_preset), "cpu")


@pytest.fixture
def cut_out():
    """A red disc on nothing."""
    rows, columns = np.mgrid[:64, :64]
    disc = np.hypot(rows - 30, columns - 34) < 20
    return np.where(disc[..., None], [200, 30, 20, 255], [0, 0, 0, 0]).astype(np.uint8)


def test_forty_views_from_the_methods_cameras_and_a_mesh(pipeline, cut_out):
    output = pipeline(cut_out, elevation_deg=20.0)
    names = [v.name for v in method_viewpoints(20.0)]
    assert list(output.views.cameras.names) == names and len(output.views.rgb) == 40
    assert list(pipeline.source_views(output.views).cameras.names) == names[8:]
    assert output.elevation.elevation_deg == 20.0 and not output.elevation.is_estimated
    assert len(output.mesh.faces) > 0


def test_lifting_preset_goes_from_a_guess_to_a_mesh(models, tmp_path, cut_out):
    """The guess conditions the views, tells the elevation, and the photo is reconstructed too."""
    pipeline = models.get(str(save_tiny_preset(tmp_path, lifts_photo=True)), "cpu")
    output = pipeline(cut_out)
    guessed = pipeline.guess(output.foreground)
    assert output.elevation == guessed.elevation
    assert output.elevation.is_estimated
    sources = pipeline.source_views(output.views)
    assert len(sources.rgb) == 33
    np.testing.assert_array_equal(sources.rgb[0], output.foreground.rgb)
    assert len(output.mesh.faces) > 0
    white = np.full((1, 32, 32, 3), 255, np.uint8)
    views = [
        pipeline.zero123(
            output.foreground.rgb[None],
            [0.0],
            [90.0],
            guess_rgb=guess,
            generator=torch.Generator().manual_seed(0),
            num_inference_steps=2,
        )
        for guess in (white, white // 3)
    ]
    assert (views[0] != views[1]).any()


def test_guess_is_asked_for_and_refused(pipeline, models, tmp_path, cut_out):
    lifting = models.get(str(save_tiny_preset(tmp_path, lifts_photo=True)), "cpu")
    rgb = np.full((1, 32, 32, 3), 255, np.uint8)
    for zero123, guess in ((lifting.zero123, None), (pipeline.zero123, rgb)):
        with pytest.raises(OptionError, match="first guess"):
            zero123(rgb, [0.0], [90.0], guess_rgb=guess, generator=torch.Generator())
    with pytest.raises(OptionError, match="2 guesses for 1 views"):
        lifting.zero123(
            rgb, [0.0], [90.0], guess_rgb=np.repeat(rgb, 2, 0), generator=torch.Generator()
        )


def test_quality_multiplies_the_presets_steps(tiny_preset, cut_out, tmp_path):
    preset = tmp_path / "preset"
    shutil.copytree(tiny_preset, preset)
    index = json.loads((preset / MODEL_INDEX).read_text())
    index |= {"num_inference_steps_stage1": 4, "num_inference_steps_stage2": 8}
    (preset / MODEL_INDEX).write_text(json.dumps(index))
    Image.fromarray(cut_out).save(tmp_path / "disc.png")
    models = ModelCache()
    announced, taken = {}, {}
    for steps_scale in (0.5, None, 2.0):
        spec = JobSpec(
            job_id="job",
            image_path=tmp_path / "disc.png",
            output_dir=tmp_path / "out",
            preset=str(preset),
            elevation_deg=20.0,
            steps_scale=steps_scale,
        )
        events = []
        convert_image(spec, models=models, on_event=events.append)
        steps = [e for e in events if isinstance(e, StepDone) and e.stage == "views_stage1"]
        (announced[steps_scale],) = {e.steps for e in steps}
        taken[steps_scale] = len(steps)
    assert announced == {0.5: 6, None: 12, 2.0: 24}
    assert taken[0.5] < taken[None] < taken[2.0]


def test_scaled_steps_stay_within_what_the_sampler_can_take(pipeline):
    assert pipeline.config.drops_largest_timestep
    assert pipeline.default_steps(REFERENCE_SAMPLER) == (2, 2)
    assert pipeline.default_steps(REFERENCE_SAMPLER, 0.5) == (2, 2)
    assert pipeline.default_steps(FAST_SAMPLER, 0.5) == (8, 6)
    assert pipeline.default_steps(FAST_SAMPLER, 0.01) == (1, 1)
    assert pipeline.default_steps(REFERENCE_SAMPLER, 10_000.0) == (1000, 1000)


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_a_draft_of_few_steps_is_denoised(tiny_preset, models, cut_out, tmp_path, sampler):
    Image.fromarray(cut_out).save(tmp_path / "disc.png")
    spec = JobSpec(
        job_id="job",
        image_path=tmp_path / "disc.png",
        output_dir=tmp_path / "out",
        preset=str(tiny_preset),
        elevation_deg=20.0,
        sampler=sampler,
        steps_scale=0.1,
    )
    events = []
    convert_image(spec, models=models, on_event=events.append)
    stages = [event.stage for event in events if isinstance(event, StepDone)]
    assert {"views_stage1", "views_stage2"} <= set(stages)


def test_events_name_every_stage_in_order_and_every_view_once(pipeline, cut_out):
    events = []
    pipeline(cut_out, elevation_deg=0.0, on_event=events.append)
    stages = [e.stage for e in events if isinstance(e, StageStarted)]
    assert stages == [s for s in STAGES if s not in ("load_models", "write")]
    views = [e.name for e in events if isinstance(e, ViewReady)]
    assert sorted(views) == sorted(["foreground", *(v.name for v in method_viewpoints(0.0))])
    steps = [e for e in events if isinstance(e, StepDone)]
    assert all(0 < e.step <= e.steps for e in steps)
    assert all(a.stage != b.stage or a.step <= b.step for a, b in pairwise(steps))


def test_the_same_seed_repeats_and_another_differs(pipeline, cut_out):
    first, again, other = (
        pipeline(cut_out, elevation_deg=10.0, seed=seed).views.rgb for seed in (7, 7, 8)
    )
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_views_without_matches_give_the_prior_and_a_warning(pipeline, cut_out):
    events = []
    output = pipeline(cut_out, on_event=events.append)
    if output.elevation.is_estimated:
        pytest.fail("untrained networks cannot agree on an elevation")
    assert output.elevation.elevation_deg == PRIOR_ELEVATION_DEG
    codes = [e.code for e in events if isinstance(e, WarningRaised)]
    assert codes == ["elevation_not_estimated"]


def test_view_0_is_zero123s_or_the_input_as_the_preset_says(pipeline, cut_out):
    resynthesised = pipeline(cut_out, elevation_deg=0.0)
    pipeline.register_to_config(resynthesises_input=False)
    events = []
    kept = pipeline(cut_out, elevation_deg=0.0, on_event=events.append)
    assert "0" in [e.name for e in events if isinstance(e, ViewReady)]
    pipeline.register_to_config(resynthesises_input=True)
    np.testing.assert_array_equal(kept.views.rgb[0], kept.foreground.rgb)
    assert (resynthesised.views.rgb[0] != resynthesised.foreground.rgb).any()
    # Batches of three and of four differ in rounding, not in noise.
    other_views = slice(1, 8)
    difference = kept.views.rgb[other_views].astype(int) - resynthesised.views.rgb[other_views]
    assert abs(difference).max() <= 1


@pytest.mark.parametrize("stage", ["views_stage1", "views_stage2", "sdf", "meshing"])
def test_the_listener_can_stop_the_job_in_any_stage(pipeline, cut_out, stage):
    def stop(event):
        if isinstance(event, StepDone) and event.stage == stage:
            raise Cancelled

    with pytest.raises(Cancelled):
        pipeline(cut_out, elevation_deg=0.0, on_event=stop)


def test_a_warm_cache_does_not_load_again(models, tiny_preset):
    assert models.get(str(tiny_preset), "cpu") is models.get(str(tiny_preset), "cpu")


def test_unknown_presets_and_missing_weights_are_told_apart(tmp_path, monkeypatch):
    monkeypatch.setenv("ONE2345_PRESETS", str(tmp_path))
    with pytest.raises(OptionError, match="embedded"):
        preset_folder("no-such-preset")
    with pytest.raises(CheckpointError, match="zero123-xl"):
        preset_folder("zero123-xl")
    (tmp_path / "zero123-xl").mkdir()
    (tmp_path / "zero123-xl" / MODEL_INDEX).write_text("{}")
    assert preset_folder("zero123-xl") == tmp_path / "zero123-xl"


def test_a_missing_tensor_is_an_error_and_not_a_random_number(tiny_preset, tmp_path):
    damaged = tmp_path / "damaged"
    shutil.copytree(tiny_preset, damaged)
    weights = damaged / "clip_camera_projection" / "diffusion_pytorch_model.safetensors"
    tensors = load_file(weights)
    del tensors["proj.bias"]
    save_file(tensors, weights, metadata={"format": "pt"})
    with pytest.raises(CheckpointError, match=r"proj\.bias"):
        ModelCache().get(str(damaged), "cpu")


def test_half_precision_weights_are_used_as_float32_on_a_cpu(pipeline):
    assert pipeline.unet.dtype == pipeline.reconstruction.dtype == torch.float32


@pytest.mark.parametrize(
    ("source", "message"), [("foto", "one of near_views, photo"), ("photo", "needs photo_lifter")]
)
def test_an_elevation_source_that_is_not_there_is_an_error(tiny_preset, tmp_path, source, message):
    preset = tmp_path / "preset"
    shutil.copytree(tiny_preset, preset)
    index = json.loads((preset / MODEL_INDEX).read_text())
    (preset / MODEL_INDEX).write_text(json.dumps(index | {"elevation_source": source}))
    with pytest.raises(OptionError, match=message):
        ModelCache().get(str(preset), "cpu")
