# SPDX-License-Identifier: GPL-3.0-or-later
"""What the small Zero123 learns from, and that its training learns, stops and goes on."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderKL
from torch import nn
from training_steps import learn, slots

from one2345_blender.contracts.errors import OptionError
from one2345_blender.contracts.job import SAMPLERS
from one2345_blender.pipeline.view_schedule import (
    LEVEL_OFFSETS,
    NEAR_OFFSETS,
    NUM_LEVEL_VIEWS,
    method_viewpoints,
    tilted_offsets,
)
from one2345_blender.pipeline.zero123.image_conditioning import decode_latents, encode_latents
from one2345_blender.pipeline.zero123.pipeline_zero123 import ViewCondition, Zero123Pipeline
from one2345_blender.training import view_data
from one2345_blender.training.framing import VIEW_SIZE_PX
from one2345_blender.training.train_decoder import train_decoder
from one2345_blender.training.train_views import ViewObjective, draw_view_batch
from one2345_blender.training.training_options import TrainingOptions
from one2345_blender.training.validate_views import (
    ALL,
    FAR,
    VIEWS_BY_KIND,
    compare_views,
    validate_views,
)
from one2345_blender.training.view_data import (
    ANY_PAIRS,
    METHOD_PAIRS,
    NUM_VIEWS,
    RigReader,
    RigViews,
    draw_pairs,
    drawing_chances,
    join_rigs,
    no_rigs,
    one_near_view_each,
    pair_table,
    pairs_between,
    read_split,
    turned_rig,
)
from one2345_blender.training.view_encoders import LatentRigs
from one2345_blender.training.view_generator import TRAINED_TOGETHER
from one2345_blender.training.view_networks import (
    LATENT_CHANNELS,
    PIXELS_PER_LATENT,
    new_autoencoder,
    new_scheduler,
    new_view_networks,
    normalise_latents,
)
from one2345_blender.training.view_recipes import (
    FROM_GUESS,
    ONE_STEP,
    RECIPES,
    Sampling,
    ViewRecipe,
)

ELEVATION_DEG = 40.0
LATENT_SIZE = VIEW_SIZE_PX // PIXELS_PER_LATENT


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """Two objects with two rigs each, of plain colours that tell the views apart."""
    (tmp_path / "renders").mkdir()
    rng = np.random.default_rng(0)
    for asset_id in ("cup", "hat"):
        colors = rng.integers(0, 256, (2, NUM_VIEWS, 1, 1, 3), np.uint8)
        rgb = np.repeat(np.repeat(colors, VIEW_SIZE_PX, axis=2), VIEW_SIZE_PX, axis=3)
        rgb[:, :, :, : VIEW_SIZE_PX // 2] = 255
        np.savez(
            tmp_path / "renders" / f"{asset_id}.npz",
            rgb=rgb,
            mask=np.where(rgb.min(axis=-1) < 255, 255, 0).astype(np.uint8),
            elevation_deg=np.full(2, ELEVATION_DEG, np.float32),
        )
    split = {"train": ["cup", "not rendered yet", "hat"], "val": []}
    (tmp_path / "split.json").write_text(json.dumps(split), encoding="utf-8")
    return tmp_path


def untrained_zero123(recipe: ViewRecipe) -> Zero123Pipeline:
    """A small Zero123 as `recipe` builds it."""
    return Zero123Pipeline(
        vae=new_autoencoder(VIEW_SIZE_PX),
        scheduler=new_scheduler(recipe),
        eta=0.0,
        drops_largest_timestep=False,
        initial_noise_scale=recipe.samplings[0].initial_noise_scale,
        strength=recipe.samplings[0].strength,
        **new_view_networks(VIEW_SIZE_PX, recipe),
    )


def latents_of(rigs: RigViews) -> LatentRigs:
    """All the same, and guesses that are no better."""
    shape = (len(rigs.rgb), NUM_VIEWS, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    zeros = torch.zeros(shape, dtype=torch.float16)
    return LatentRigs(rigs=rigs, latents=zeros, guesses=zeros)


@pytest.fixture
def rigs(data_dir: Path) -> RigViews:
    return RigReader(data_dir, read_split(data_dir, "train"), rigs_per_asset=2).read_new()


def test_reader_gives_each_object_once(data_dir: Path) -> None:
    reader = RigReader(data_dir, read_split(data_dir, "train"), rigs_per_asset=2)
    first = reader.read_new(max_assets=1)
    second = reader.read_new()
    assert first.asset_ids == ("cup", "cup")
    assert second.asset_ids == ("hat", "hat")
    assert not len(reader.read_new().rgb)
    joined = join_rigs([no_rigs(), first, second])
    assert joined.asset_ids == ("cup", "cup", "hat", "hat")
    assert joined.rgb.shape == (4, NUM_VIEWS, VIEW_SIZE_PX, VIEW_SIZE_PX, 3)


def test_unknown_part_is_refused(data_dir: Path) -> None:
    with pytest.raises(OptionError, match="validation"):
        read_split(data_dir, "validation")


def test_mirrored_rig_turns_the_other_way(data_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view_data, "random_colours", lambda _rng: lambda rgb, _mask: rgb)
    monkeypatch.setattr(view_data, "random_blur", lambda _rng, photo: photo)
    names = read_split(data_dir, "train")
    plain = RigReader(data_dir, names, rigs_per_asset=1).read_new()
    for seed in range(20):
        drawn = RigReader(data_dir, names, rigs_per_asset=1, seed=seed).read_new()
        for rig in range(2):
            is_mirrored = drawn.azimuth_deg[rig, 1] != plain.azimuth_deg[rig, 1]
            turn = -1 if is_mirrored else 1
            np.testing.assert_array_equal(drawn.azimuth_deg[rig], turn * plain.azimuth_deg[rig])
            level = plain.rgb[rig, :NUM_LEVEL_VIEWS, :, ::turn]
            photo = next(i for i, rgb in enumerate(level) if (rgb == drawn.rgb[rig, 0]).all())
            order = turned_rig(photo)
            np.testing.assert_array_equal(drawn.rgb[rig], plain.rgb[rig, order][:, :, ::turn])


def test_a_rig_gets_other_colours_on_the_same_white(data_dir: Path) -> None:
    names = read_split(data_dir, "train")
    plain, drawn = (
        RigReader(data_dir, names, rigs_per_asset=1, seed=seed).read_new() for seed in (None, 1)
    )
    for rigs in (plain, drawn):
        is_white = (rigs.rgb[:, 1:] == 255).all(-1)  # view 0 may be blurred
        assert (is_white.mean((2, 3)) == 0.5).all()
    colours = [np.sort(rigs.rgb[0].reshape(-1, 3).astype(int).sum(1)) for rigs in (plain, drawn)]
    assert (colours[0] != colours[1]).any()


def test_turned_rig_keeps_the_offsets() -> None:
    """Whichever level view is the photo, the others stand where the method wants them."""
    viewpoints = method_viewpoints(ELEVATION_DEG)
    for photo in range(NUM_LEVEL_VIEWS):
        turned = [viewpoints[i] for i in turned_rig(photo)]
        for viewpoint, wanted in zip(turned, viewpoints, strict=True):
            turn_deg = viewpoint.azimuth_deg - turned[0].azimuth_deg - wanted.azimuth_deg
            assert turn_deg % 360.0 == pytest.approx(0.0)
            assert viewpoint.elevation_deg == wanted.elevation_deg


def test_one_near_view_of_each_is_kept(rigs: RigViews) -> None:
    thin = one_near_view_each(rigs, seed=0)
    pairs = pairs_between(thin, np.zeros(8, int), *pair_table("near", thin.rgb.shape[1]).T)
    offsets = zip(pairs.d_polar_deg.tolist(), pairs.d_azimuth_deg.tolist(), strict=True)
    assert set(offsets) <= {(o.d_polar_deg, o.d_azimuth_deg) for o in NEAR_OFFSETS}
    np.testing.assert_array_equal(thin.rgb[:, :8], rigs.rgb[:, :8])


def test_stage1_pairs_are_the_offsets_of_the_method(rigs: RigViews) -> None:
    condition, target = pair_table("stage1", NUM_VIEWS).T
    pairs = pairs_between(rigs, np.zeros(len(target), int), condition, target)
    wanted = {
        (o.d_polar_deg, o.d_azimuth_deg % 360.0)
        for o in (*LEVEL_OFFSETS, *tilted_offsets(ELEVATION_DEG))
    }
    drawn = zip(pairs.d_polar_deg.tolist(), pairs.d_azimuth_deg.tolist(), strict=True)
    assert {(polar, azimuth % 360.0) for polar, azimuth in drawn} == wanted


def test_near_pairs_are_the_offsets_of_the_method(rigs: RigViews) -> None:
    condition, target = pair_table("near", NUM_VIEWS).T
    pairs = pairs_between(rigs, np.zeros(len(target), int), condition, target)
    offsets = list(zip(pairs.d_polar_deg.tolist(), pairs.d_azimuth_deg.tolist(), strict=True))
    wanted = [(o.d_polar_deg, o.d_azimuth_deg) for o in NEAR_OFFSETS]
    assert offsets == wanted * 8


def test_any_offset_is_learnt_where_that_is_asked(rigs: RigViews) -> None:
    rngs = [np.random.default_rng(seed) for seed in range(400)]
    of_method, of_any = (draw_pairs(rigs, rngs, kinds) for kinds in (METHOD_PAIRS, ANY_PAIRS))
    assert (of_method.condition < 8).all() and (of_any.condition >= 8).any()
    assert (of_any.condition != of_any.target).all()
    batch = draw_view_batch(latents_of(rigs), slots(400), RECIPES["any-offset"])
    assert len(batch.camera.unique(dim=0)) > len(
        draw_view_batch(latents_of(rigs), slots(400)).camera.unique(dim=0)
    )


def test_normalised_latents_change_nothing_but_their_statistics() -> None:
    torch.manual_seed(0)
    vae = new_autoencoder(VIEW_SIZE_PX).eval()
    images = torch.rand(6, 3, VIEW_SIZE_PX, VIEW_SIZE_PX) * 2.0 - 1.0
    with torch.no_grad():
        latents = encode_latents(vae, images)
        decoded = decode_latents(vae, latents)
        normalise_latents(vae, latents.mean((0, 2, 3)), latents.std((0, 2, 3)))
        normalised = encode_latents(vae, images)
        torch.testing.assert_close(decode_latents(vae, normalised), decoded, atol=1e-3, rtol=1e-3)
    zeros, ones = torch.zeros(LATENT_CHANNELS), torch.ones(LATENT_CHANNELS)
    torch.testing.assert_close(normalised.mean((0, 2, 3)), zeros, atol=1e-3, rtol=0.0)
    torch.testing.assert_close(normalised.std((0, 2, 3)), ones, atol=1e-3, rtol=0.0)


@pytest.mark.parametrize("name", RECIPES)
def test_views_learn(name: str, rigs: RigViews) -> None:
    torch.manual_seed(0)
    recipe = RECIPES[name]
    zero123 = untrained_zero123(recipe)
    history = learn(
        ViewObjective(
            nn.ModuleDict({name: getattr(zero123, name) for name in TRAINED_TOGETHER}),
            zero123,
            recipe,
        ),
        lambda slots: draw_view_batch(latents_of(rigs), slots, recipe),
        batch_size=4,
        num_steps=8,
        learning_rate=1e-3,
    )
    assert min(losses["loss"] for losses in history[-3:]) < 0.9 * history[0]["loss"]


@pytest.mark.parametrize("sampler", SAMPLERS)
@pytest.mark.parametrize("name", RECIPES)
def test_what_is_learnt_is_what_is_drawn(name: str, sampler: str) -> None:
    """A network that predicts without error, whatever it predicts, draws the wanted picture."""
    recipe = RECIPES[name]
    zero123 = untrained_zero123(recipe)
    clean = torch.randn(1, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)

    def perfect(latents: torch.Tensor, timestep: torch.Tensor, _: object) -> torch.Tensor:
        alpha = zero123.scheduler.alphas_cumprod[timestep].sqrt()
        noise = (latents - alpha * clean) / (1.0 - alpha**2).sqrt()
        velocity = alpha * noise - (1.0 - alpha**2).sqrt() * clean
        drawn = clean.expand_as(latents)
        return {"epsilon": noise, "sample": drawn, "v_prediction": velocity}[recipe.predicts]

    zero123.predict = perfect
    photo_and_guess = torch.randn_like(torch.cat([clean, clean], dim=1))
    condition = ViewCondition(latents=photo_and_guess, context=clean, class_labels=None)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(clean.shape, generator=generator)
    for sampling in recipe.samplings:
        drawn = zero123.denoise(
            sampling.initial_noise_scale * noise,
            condition,
            generator=generator,
            num_inference_steps=sampling.num_inference_steps,
            guidance_scale=sampling.guidance_scale,
            sampler=sampler,
        )
        torch.testing.assert_close(drawn, clean, atol=1e-2, rtol=0.0)


@pytest.mark.parametrize("guidance_scale", [1.0, 2.0])
@pytest.mark.parametrize("sampler", SAMPLERS)
def test_views_are_drawn_from_where_the_noise_of_the_training_leads(
    sampler: str, guidance_scale: float, rigs: RigViews
) -> None:
    """The noisiest latents that are learnt from are the guess's, as sampling noises them."""
    recipe = RECIPES["from-guess"]
    zero123 = untrained_zero123(recipe)
    data = replace(latents_of(rigs), guesses=torch.randn_like(latents_of(rigs).latents))
    batch = draw_view_batch(data, slots(4), recipe)
    batch = replace(batch, noise_level=torch.full((4,), 0.4999))
    seen: list[torch.Tensor] = []
    zero123.unet.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].float()))
    networks = nn.ModuleDict({name: getattr(zero123, name) for name in TRAINED_TOGETHER})
    ViewObjective(networks, zero123, recipe)(batch)
    steps_done: list[tuple[int, int]] = []
    zero123.denoise(
        recipe.samplings[0].initial_noise_scale * batch.noise,
        ViewCondition(
            latents=batch.condition,
            context=torch.zeros(4, 1, zero123.unet.config.cross_attention_dim),
            class_labels=torch.zeros(4, zero123.unet.config.projection_class_embeddings_input_dim),
        ),
        generator=torch.Generator(),
        num_inference_steps=4,
        guidance_scale=guidance_scale,
        sampler=sampler,
        on_step=lambda step, steps: steps_done.append((step, steps)),
    )
    learnt, drawn, *_ = (given[-4:, :LATENT_CHANNELS] for given in seen)
    torch.testing.assert_close(learnt, drawn, atol=1e-4, rtol=1e-4)
    assert len(seen[1]) == (4 if guidance_scale == 1.0 else 8)
    assert steps_done == [(step, 4) for step in (1, 2, 3, 4)] and len(seen) == 1 + 4


def test_how_views_are_drawn_is_known_of_any_preset() -> None:
    config = FROM_GUESS.in_preset()
    assert Sampling.of_preset(config) == FROM_GUESS
    del config["strength"]  # as presets had it until 0.1.0
    assert Sampling.of_preset(config) == replace(FROM_GUESS, strength=1.0)
    for starts in ((0.5, 0.5), (0.5, 1.0), (0.0, 1.0), (0.3, 0.25)):
        found = Sampling.of_zero123({"initial_noise_scale": starts[0], "strength": starts[1]})
        assert (found.initial_noise_scale, found.strength) == starts


def test_no_library_rules_the_mixture() -> None:
    names = ("game-by_a",) * 5 + ("game-by-sa_d",) * 3 + ("shop_b", "fair_c")
    chances = drawing_chances(names)
    assert chances.sum() == pytest.approx(1.0)
    assert chances[:8].sum() == pytest.approx(1.0 / 3.0)
    assert len(set(chances[8:])) == 1
    assert set(drawing_chances(names[:8])) == {0.125}
    assert set(drawing_chances(names[6:])) == {0.25}


def test_noise_levels_of_a_batch_are_spread(rigs: RigViews) -> None:
    """Two processes' halves together are one process's batch."""
    shape = (len(rigs.rgb), NUM_VIEWS, LATENT_CHANNELS, LATENT_SIZE, LATENT_SIZE)
    data = LatentRigs(
        rigs=rigs, latents=torch.zeros(shape).half(), guesses=torch.ones(shape).half()
    )
    whole = draw_view_batch(data, slots(8))
    assert (whole.noise_level * 8).floor().tolist() == list(range(8))
    halves = [draw_view_batch(data, slots(8)[first::2]) for first in (0, 1)]
    for first, half in enumerate(halves):
        for name, value in vars(half).items():
            assert torch.equal(value, getattr(whole, name)[first::2])


def test_no_more_noise_is_learnt_than_views_from_a_guess_have(rigs: RigViews) -> None:
    recipe = RECIPES["both-for-guess"]
    batch = draw_view_batch(latents_of(rigs), slots(20), recipe)
    denoised = batch.noise_level[~batch.is_one_step]
    assert len(denoised) == 8 and denoised.max() < FROM_GUESS.strength
    assert (denoised * 16).floor().tolist() == list(range(8))
    assert (batch.noise_level[batch.is_one_step] == 1.0).all()


def test_decoder_training_leaves_the_latents_alone(data_dir: Path) -> None:
    before = new_autoencoder(VIEW_SIZE_PX)
    before.save_pretrained(data_dir / "autoencoder" / "vae")
    vae_dir = train_decoder(TrainingOptions(data=data_dir, steps=2, rigs_per_asset=1))
    after = AutoencoderKL.from_pretrained(vae_dir).state_dict()
    changed = {name for name, value in before.state_dict().items() if (value != after[name]).any()}
    assert changed
    assert all(name.startswith(("decoder.", "post_quant_conv.")) for name in changed)


def test_perfect_views_score_best(rigs: RigViews, tmp_path: Path) -> None:
    """A generator that gives the renders back has full marks in every kind."""

    def rendered(image_rgb: np.ndarray, d_polar_deg: list[float], *_: object, **__: object):
        rig = next(r for r in range(len(rigs.rgb)) if (rigs.rgb[r, 0] == image_rgb[0]).all())
        assert len(d_polar_deg) == 7
        return rigs.rgb[rig, [1, 2, 3, 4, 6, 8, 11]]

    scores = validate_views(rendered, None, rigs, tmp_path / "sheet.png", ONE_STEP)
    assert list(scores) == ["level", "tilted", "near", FAR, ALL]
    for score in scores.values():
        assert score["psnr_db"] == pytest.approx(60.0)
        assert score["iou"] == 1.0
        assert score["input_psnr_db"] < 40.0
    assert (tmp_path / "sheet.png").is_file()


def test_far_views_are_scored_on_their_own(rigs: RigViews, tmp_path: Path) -> None:
    """Views that are right near the input and repeat it elsewhere."""
    views = rigs.rgb.copy()
    stage1 = [*VIEWS_BY_KIND["level"], *VIEWS_BY_KIND["tilted"]]
    views[:, stage1] = views[:, :1]
    scores = compare_views(views, rigs, tmp_path / "sheet.png", VIEWS_BY_KIND)
    far = scores[FAR]
    assert (far["psnr_db"], far["iou"]) == (far["input_psnr_db"], far["input_iou"])
    assert scores["near"]["psnr_db"] == pytest.approx(60.0)
    assert far["psnr_db"] < scores[ALL]["psnr_db"] < scores["near"]["psnr_db"]
