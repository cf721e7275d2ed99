# SPDX-License-Identifier: GPL-3.0-or-later
"""The Zero123 sampler: pictures and camera offsets in, the pictures seen from there out."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from diffusers.utils.torch_utils import randn_tensor
from transformers import CLIPVisionModelWithProjection

from ...contracts.errors import OptionError
from ...contracts.job import FAST_SAMPLER, REFERENCE_SAMPLER
from .camera_projection import CLIPCameraProjection, camera_condition
from .fast_solver import GUIDED_SHARE, fast_solver
from .feature_reuse import FeatureReuse
from .folded_attention import fold_one_token_attention
from .image_conditioning import (
    decode_latents,
    encode_latents,
    encode_tokens,
    images_from_rgb,
    patch_size_px,
    rgb_from_images,
)
from .timesteps import set_timesteps

PICTURES_AT_ONCE = 4
"""In the autoencoder, whose activations at full size are far larger than the UNet's."""

Generators = torch.Generator | Sequence[torch.Generator]


@dataclass(frozen=True, kw_only=True)
class ViewCondition:
    """What the UNet knows of the picture and of the wanted camera."""

    latents: torch.Tensor
    """`(B, C or 2C, h, w)` unscaled latents of the picture, and of the guess where the UNet takes
    one, joined to the noisy latents' channels."""
    context: torch.Tensor
    """`(B, 1 + N, D)` tokens for cross-attention."""
    class_labels: torch.Tensor | None
    """`(B, F)` camera features for the time embedding, where the UNet has that input."""

    def with_unconditional(self) -> ViewCondition:
        """The batch `[unconditional, conditional]`; unconditional is zeros *after* projection."""

        def doubled(tensor: torch.Tensor) -> torch.Tensor:
            return torch.cat([torch.zeros_like(tensor), tensor])

        return ViewCondition(
            latents=doubled(self.latents),
            context=doubled(self.context),
            class_labels=None if self.class_labels is None else doubled(self.class_labels),
        )


class Zero123Pipeline(DiffusionPipeline):
    """View-conditioned latent diffusion (Zero-1-to-3), as One-2-3-45 samples it.

    Args:
        vae: Its latents' mode is the condition; more than 3 channels are pixel blocks.
        image_encoder: The CLIP image tower, its projection included.
        unet: Takes `[noisy latents, condition latents]`, the small one also a guess's latents.
        clip_camera_projection: Makes the context.
        scheduler: Its config says what the UNet predicts.
        eta: DDIM's noise, 1 in the original.
        drops_largest_timestep: The original's timesteps, see `set_timesteps`.
        initial_noise_scale: Deviation of the noise that sampling starts from; 1 in the original.
            Less gives a weak network's views more likely outlines, nearer to the mean of what it
            would draw; 0 belongs to networks that have learnt this mean, and draw it in one step.
        strength: Share of the noise schedule that sampling goes through. 1 starts from noise alone,
            as the original; less from the guess of each view under the noise of that place in the
            schedule (arXiv 2108.01073), times `initial_noise_scale`. Steps are those taken.
        fast_guided_share: The share of the fast sampler's steps, the first ones, that are guided;
            the others need half as many evaluations.
        fast_reuses_features: Whether every second step of the fast sampler evaluates the UNet's
            outermost level alone, see `FeatureReuse`.
    """

    model_cpu_offload_seq = "image_encoder->clip_camera_projection->unet->vae"
    OPTIONS: ClassVar = (
        "eta",
        "drops_largest_timestep",
        "initial_noise_scale",
        "strength",
        "fast_guided_share",
        "fast_reuses_features",
    )

    def __init__(
        self,
        vae: AutoencoderKL,
        image_encoder: CLIPVisionModelWithProjection,
        unet: UNet2DConditionModel,
        clip_camera_projection: CLIPCameraProjection,
        scheduler: DDIMScheduler,
        eta: float = 1.0,
        drops_largest_timestep: bool = True,
        initial_noise_scale: float = 1.0,
        strength: float = 1.0,
        fast_guided_share: float = GUIDED_SHARE,
        fast_reuses_features: bool = False,
    ) -> None:
        super().__init__()
        self.register_modules(
            vae=vae,
            image_encoder=image_encoder,
            unet=unet,
            clip_camera_projection=clip_camera_projection,
            scheduler=scheduler,
        )
        self.register_to_config(
            eta=eta,
            drops_largest_timestep=drops_largest_timestep,
            initial_noise_scale=initial_noise_scale,
            strength=strength,
            fast_guided_share=fast_guided_share,
            fast_reuses_features=fast_reuses_features,
        )
        needs_all = drops_largest_timestep or not self.takes_guess
        if not 0.0 < strength <= 1.0 or (strength < 1.0 and needs_all):
            raise OptionError(
                "strength: expected more than 0 and at most 1, and 1 where no first guess is taken "
                f"or the largest timestep is dropped, got {strength:g}.",
                hint="Correct it in the preset's model_index.json.",
            )
        if clip_camera_projection.patch_proj is None:
            fold_one_token_attention(unet)

    @torch.no_grad()
    def __call__(
        self,
        image_rgb: np.ndarray,
        d_polar_deg: Sequence[float],
        d_azimuth_deg: Sequence[float],
        *,
        generator: Generators,
        image_of_view: Sequence[int] | None = None,
        guess_rgb: np.ndarray | None = None,
        num_inference_steps: int = 75,
        guidance_scale: float = 3.0,
        sampler: str = REFERENCE_SAMPLER,
        on_step: Callable[[int, int], None] | None = None,
    ) -> np.ndarray:
        """Synthesise `B` views.

        Args:
            image_rgb: `(I, H, W, 3)` uint8 sRGB on white.
            d_polar_deg: `B` polar offsets; positive moves the camera down.
            d_azimuth_deg: `B` azimuth offsets; positive is counter-clockwise seen from above.
            generator: One for the batch (the original's draws), or one for each view: then a view
                does not depend on how the views are split into batches.
            image_of_view: The `B` views' pictures by index; None: `I` divides `B`, and the first
                `B / I` views are of the first picture, and so on.
            guess_rgb: `(B, H, W, 3)` uint8 sRGB on white, a first guess of each view, if and only
                if `takes_guess`.
            num_inference_steps: See `set_timesteps` for what the original makes of it.
            guidance_scale: 1 switches guidance off and halves the time.
            sampler: One of `SAMPLERS`: DDIM with the settings above, or `fast_solver`.
            on_step: Called after each step with the number of steps done and in all.

        Returns:
            `(B, H, W, 3)` uint8 sRGB.

        Raises:
            OptionError: Counts that do not fit together, or a number out of range.
        """
        seen_in = _checked_image_of_view(
            image_rgb, d_polar_deg, d_azimuth_deg, generator, image_of_view
        )
        num_views = len(seen_in)
        if self.config.initial_noise_scale == 0.0 and num_inference_steps != 1:
            raise OptionError(
                f"This network draws a view in one step, not in {num_inference_steps}.",
                hint="Ask for one step, or for the preset's own settings.",
            )
        guess = self._checked_guess(guess_rgb, num_views)
        images = images_from_rgb(image_rgb).to(self._execution_device)
        camera = camera_condition(
            torch.tensor(d_polar_deg, dtype=torch.float32, device=self._execution_device),
            torch.tensor(d_azimuth_deg, dtype=torch.float32, device=self._execution_device),
        )
        condition = self.encode_condition(images, camera, guess, image_of_view=seen_in)
        noise = randn_tensor(
            (num_views, self.vae.config.latent_channels, *condition.latents.shape[2:]),
            generator=_as_list_or_one(generator),
            device=self._execution_device,
            dtype=torch.float32,
        )
        latents = self.denoise(
            self.config.initial_noise_scale * noise,
            condition,
            generator=generator,
            num_inference_steps=num_inference_steps,
            guidance_scale=guidance_scale,
            sampler=sampler,
            on_step=on_step,
        )
        decoded = [decode_latents(self.vae, part) for part in latents.split(PICTURES_AT_ONCE)]
        return rgb_from_images(torch.cat(decoded))

    @property
    def pixels_per_latent(self) -> int:
        """Side of the block of pixels that one value of each latent channel stands for."""
        return int(patch_size_px(self.vae) * 2 ** (len(self.vae.config.block_out_channels) - 1))

    @property
    def takes_guess(self) -> bool:
        """Whether the UNet has channels for a first guess of each view."""
        return bool(self.unet.config.in_channels == 3 * self.vae.config.latent_channels)

    def encode_condition(
        self,
        images: torch.Tensor,
        camera: torch.Tensor,
        guess: torch.Tensor | None = None,
        *,
        image_of_view: Sequence[int],
    ) -> ViewCondition:
        """The condition of `B` views from `I` pictures.

        Args:
            images: `(I, 3, H, W)` in [-1, 1].
            camera: `(B, 4)` from `camera_condition`.
            guess: `(B, 3, H, W)` in [-1, 1], where the UNet takes one.
            image_of_view: The `B` views' pictures by index.
        """
        seen_in = list(image_of_view)
        latents = self._encoded(images)[seen_in]
        if guess is not None:
            latents = torch.cat([latents, self._encoded(guess)], dim=1)
        embeds, patch_tokens = encode_tokens(self.image_encoder, images)
        return ViewCondition(
            latents=latents,
            context=self.clip_camera_projection(embeds[seen_in], camera, patch_tokens[seen_in]),
            class_labels=(
                self.clip_camera_projection.camera_features(camera).to(self.unet.dtype)
                if self.unet.config.class_embed_type == "projection"
                else None
            ),
        )

    def _encoded(self, images: torch.Tensor) -> torch.Tensor:
        parts = images.split(PICTURES_AT_ONCE)
        return torch.cat([encode_latents(self.vae, part) for part in parts])

    def predict(
        self,
        latents: torch.Tensor,
        timestep: torch.Tensor,
        condition: ViewCondition,
        unet: FeatureReuse | None = None,
    ) -> torch.Tensor:
        """The UNet's prediction `(B, C, h, w)` for noisy latents in the scaled space.

        The UNet alone computes in its own number format; what goes in and comes out is float32.

        Args:
            latents: `(B, C, h, w)` float32.
            timestep: One for the batch.
            condition: Of the batch.
            unet: In place of the UNet itself.
        """
        prediction = (unet or self.unet)(
            torch.cat([latents, condition.latents], dim=1).to(self.unet.dtype),
            timestep,
            condition.context,
            class_labels=condition.class_labels,
        ).sample
        return prediction.float()

    @torch.no_grad()
    def denoise(
        self,
        latents: torch.Tensor,
        condition: ViewCondition,
        *,
        generator: Generators,
        num_inference_steps: int,
        guidance_scale: float,
        sampler: str = REFERENCE_SAMPLER,
        on_step: Callable[[int, int], None] | None = None,
    ) -> torch.Tensor:
        """Denoise `latents` `(B, C, h, w)`, which is noise, to latents in the scaled space.

        Latents, noise, guidance and the scheduler's steps are float32 whatever the networks are, as
        the latents are under the original's autocast.
        """
        scheduler, guided_share, predict = self.scheduler, 1.0, self.predict
        whole_schedule = round(num_inference_steps / self.config.strength)
        if sampler == FAST_SAMPLER:
            scheduler = fast_solver(
                self.scheduler, whole_schedule, starts_in_noise=self.config.strength == 1.0
            )
            guided_share = self.config.fast_guided_share
            if self.config.fast_reuses_features:
                predict = partial(predict, unet=FeatureReuse(self.unet))
        else:
            set_timesteps(
                scheduler, whole_schedule, drops_largest=self.config.drops_largest_timestep
            )
        timesteps = scheduler.timesteps[whole_schedule - num_inference_steps :]
        if self.config.strength < 1.0:
            _, guess = condition.latents.chunk(2, dim=1)
            scaled_guess = self.vae.config.scaling_factor * guess.float()
            latents = self.scheduler.add_noise(scaled_guess, latents, timesteps[:1])
        num_guided = 0 if guidance_scale == 1.0 else math.ceil(guided_share * len(timesteps))
        doubled = condition.with_unconditional()
        for step, timestep in enumerate(timesteps):
            if step < num_guided:
                unconditional, conditional = predict(
                    torch.cat([latents, latents]), timestep, doubled
                ).chunk(2)
                prediction = unconditional + guidance_scale * (conditional - unconditional)
            else:
                prediction = predict(latents, timestep, condition)
            options = {} if sampler == FAST_SAMPLER else self._ddim_options(latents, generator)
            latents = scheduler.step(prediction, timestep, latents, **options).prev_sample
            if on_step is not None:
                on_step(step + 1, len(timesteps))
        return latents

    def _ddim_options(self, latents: torch.Tensor, generator: Generators) -> dict[str, Any]:
        """DDIM's share of noise and the noise of one step; the fast solver takes neither."""
        eta = self.config.eta
        if eta == 0.0:
            return {"eta": eta}
        noise = randn_tensor(
            latents.shape,
            generator=_as_list_or_one(generator),
            device=latents.device,
            dtype=latents.dtype,
        )
        return {"eta": eta, "variance_noise": noise}

    def _checked_guess(self, guess_rgb: np.ndarray | None, num_views: int) -> torch.Tensor | None:
        if self.takes_guess != (guess_rgb is not None):
            raise OptionError(
                f"This UNet takes {'a' if self.takes_guess else 'no'} first guess of each view, "
                f"and {'none' if guess_rgb is None else 'one'} was given.",
                hint="Give `guess_rgb` if and only if `takes_guess`.",
            )
        if guess_rgb is None:
            return None
        if len(guess_rgb) != num_views:
            raise OptionError(
                f"{len(guess_rgb)} guesses for {num_views} views.", hint="Give one for each view."
            )
        return images_from_rgb(guess_rgb).to(self._execution_device)


def _as_list_or_one(generator: Generators) -> torch.Generator | list[torch.Generator]:
    return generator if isinstance(generator, torch.Generator) else list(generator)


def _checked_image_of_view(
    image_rgb: np.ndarray,
    d_polar_deg: Sequence[float],
    d_azimuth_deg: Sequence[float],
    generator: Generators,
    image_of_view: Sequence[int] | None,
) -> list[int]:
    """Each view's picture by index."""
    num_views = len(d_polar_deg)
    if image_rgb.ndim != 4 or image_rgb.shape[-1] != 3 or image_rgb.dtype != np.uint8:
        raise OptionError(
            f"Expected pictures as (I, H, W, 3) uint8, got {image_rgb.shape} {image_rgb.dtype}.",
            hint="Stack the pictures and convert them to 8-bit RGB on white.",
        )
    if image_of_view is None and len(image_rgb) and num_views % len(image_rgb) == 0:
        views_per_image = num_views // len(image_rgb)
        image_of_view = [view // views_per_image for view in range(num_views)]
    if (
        num_views == 0
        or len(d_azimuth_deg) != num_views
        or image_of_view is None
        or len(image_of_view) != num_views
        or not all(0 <= image < len(image_rgb) for image in image_of_view)
    ):
        raise OptionError(
            f"{num_views} polar and {len(d_azimuth_deg)} azimuth offsets do not share out among "
            f"{len(image_rgb)} pictures.",
            hint="Give as many polar as azimuth offsets, the same number for each picture, or say "
            "which view is of which picture.",
        )
    if not isinstance(generator, torch.Generator) and len(generator) != num_views:
        raise OptionError(
            f"{len(generator)} random generators for {num_views} views.",
            hint="Give one generator, or one for each view.",
        )
    return list(image_of_view)
