# SPDX-License-Identifier: GPL-3.0-or-later
"""A Zero123 with the networks that it works with: new, trained here, or of a preset's folder."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ..contracts.errors import OptionError
from ..contracts.job_folder import atomic_write
from ..pipeline.model_cache import load_pipeline
from ..pipeline.pipeline_one2345 import One2345Pipeline
from ..pipeline.preset_folders import MODEL_INDEX
from ..pipeline.zero123.pipeline_zero123 import Zero123Pipeline
from .training_loop import accelerator
from .view_data import RigViews, require_rendered_size, view_size_px
from .view_encoders import ViewEncoders
from .view_networks import new_scheduler, new_view_networks
from .view_recipes import SHIPPED, Sampling, ViewRecipe

TRAINED_TOGETHER = ("unet", "image_encoder", "clip_camera_projection")


@dataclass(frozen=True, kw_only=True)
class ViewGenerator:
    """A Zero123, and what turns renders into its input."""

    zero123: Zero123Pipeline
    encoders: ViewEncoders
    sampling: Sampling
    """How its views are drawn."""
    resynthesises_input: bool
    """See `One2345Pipeline`."""
    is_drawn_otherwise: bool = False
    """Whether `sampling` is another than the preset's."""
    preset_dir: Path | None = None
    """The preset's folder that it is from; None: it was trained here, or is to be."""

    @classmethod
    def untrained(cls, data_dir: Path, seed: int, recipe: ViewRecipe = SHIPPED) -> ViewGenerator:
        """Of the size of the renders, for the latents of the autoencoder in `data_dir`."""
        encoders = ViewEncoders.trained(data_dir, seed)
        zero123 = Zero123Pipeline(
            vae=encoders.vae,
            scheduler=new_scheduler(recipe),
            eta=0.0,
            drops_largest_timestep=recipe.samplings[0].drops_largest_timestep,
            initial_noise_scale=recipe.samplings[0].initial_noise_scale,
            strength=recipe.samplings[0].strength,
            **new_view_networks(view_size_px(data_dir), recipe),
        )
        return cls(
            zero123=zero123,
            encoders=encoders,
            sampling=recipe.samplings[0],
            resynthesises_input=False,
        )

    @classmethod
    def trained(cls, data_dir: Path) -> ViewGenerator:
        """The one that the training of views left in `data_dir`."""
        folder = data_dir / "views" / "pipeline"
        index = json.loads((folder / MODEL_INDEX).read_text(encoding="utf-8"))
        if index["_class_name"] == One2345Pipeline.__name__:
            return cls.of_preset(folder, data_dir)
        zero123 = Zero123Pipeline.from_pretrained(folder)
        return cls(
            zero123=zero123,
            encoders=ViewEncoders.trained(data_dir, seed=0),
            sampling=Sampling.of_zero123(zero123.config),
            resynthesises_input=False,
        )

    @classmethod
    def of_preset(cls, preset_dir: Path, data_dir: Path, seed: int = 0) -> ViewGenerator:
        """The one of a preset's folder, such as `import-checkpoint` makes.

        Raises:
            CheckpointError: The folder is no preset, or not whole.
            OptionError: The renders have another size than its views.
        """
        preset = load_pipeline(preset_dir, torch.device("cpu"), needs_reconstruction=False)
        zero123 = preset.zero123
        size_px = zero123.unet.config.sample_size * zero123.pixels_per_latent
        require_rendered_size(data_dir, preset_dir, size_px)
        return replace(cls.of_pipeline(preset, seed), preset_dir=preset_dir)

    @classmethod
    def of_pipeline(cls, pipeline: One2345Pipeline, seed: int = 0) -> ViewGenerator:
        """The one of the whole method's networks."""
        return cls(
            zero123=pipeline.zero123,
            encoders=ViewEncoders(
                vae=pipeline.vae,
                lifter=pipeline.photo_lifter,
                elevation=pipeline.photo_elevation,
                seed=seed,
            ),
            sampling=Sampling.of_preset(pipeline.config),
            resynthesises_input=pipeline.config.resynthesises_input,
        )

    def __post_init__(self) -> None:
        """Everything computes on the device of this process."""
        self.zero123.to(accelerator().device)

    def guesses(self, rigs: RigViews, *, knows_elevation: bool = False) -> np.ndarray | None:
        """`(R, V, H, W, 3)` uint8 first guesses of all rigs' views; None where it takes none.

        Args:
            rigs: View 0 of each is the photo.
            knows_elevation: The photos' elevations are the rigs'; otherwise they are estimated.
        """
        if not self.zero123.takes_guess:
            return None
        return self.encoders.guesses(rigs, knows_elevation=knows_elevation)

    @property
    def networks(self) -> nn.ModuleDict:
        """Those that are trained together, by their names in the pipeline."""
        return nn.ModuleDict({name: getattr(self.zero123, name) for name in TRAINED_TOGETHER})

    def drawing(self, sampling: Sampling) -> ViewGenerator:
        """The same networks, whose views are drawn otherwise from now on.

        Raises:
            OptionError: From a guess that this Zero123 does not take.
        """
        if sampling.strength < 1.0 and not self.zero123.takes_guess:
            raise OptionError(
                "This Zero123 takes no guess of its views, to draw them from.",
                hint="Choose another way to draw its views, or another recipe.",
            )
        self.zero123.register_to_config(
            initial_noise_scale=sampling.initial_noise_scale,
            strength=sampling.strength,
            drops_largest_timestep=sampling.drops_largest_timestep,
        )
        return replace(self, sampling=sampling, is_drawn_otherwise=True)

    @property
    def is_published(self) -> bool:
        """Whether it is a preset's that is built as the published one: its context is a single
        token. A new one has an image encoder that must learn, too."""
        has_one_token = self.zero123.clip_camera_projection.patch_proj is None
        return self.preset_dir is not None and has_one_token

    def export(self, folder: Path) -> None:
        """Write the pipeline in diffusers' layout; for a preset's, all of that preset around it."""
        if self.preset_dir is None:
            self.zero123.save_pretrained(folder)
            return
        if folder.resolve() != self.preset_dir.resolve():
            others = shutil.ignore_patterns(*TRAINED_TOGETHER)
            shutil.copytree(self.preset_dir, folder, ignore=others, dirs_exist_ok=True)
        for name in TRAINED_TOGETHER:
            getattr(self.zero123, name).save_pretrained(folder / name)
        if self.is_drawn_otherwise:
            index = json.loads((folder / MODEL_INDEX).read_text(encoding="utf-8"))
            with atomic_write(folder / MODEL_INDEX) as file:
                file.write(json.dumps(index | self.sampling.in_preset(), indent=2).encode())
