# SPDX-License-Identifier: GPL-3.0-or-later
"""The whole method on one page (arXiv 2306.16928): a picture in, a coloured mesh out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import torch
from diffusers import AutoencoderKL, DDIMScheduler, DiffusionPipeline, UNet2DConditionModel
from numpy.typing import NDArray
from transformers import CLIPVisionModelWithProjection

from ..contracts.cameras import PosedImages, method_rig
from ..contracts.errors import OptionError
from ..contracts.job import FAST_SAMPLER, REFERENCE_SAMPLER, ElevationEstimate
from ..contracts.mesh import ColoredMesh
from ..contracts.progress import OnEvent, StageStarted, ViewReady, ignore_events
from .elevation import assumption_warning, estimate_elevation
from .foreground import ForegroundImage, prepare_foreground, segment
from .lifting.guessed_object import GuessedObject, guess_object
from .lifting.photo_elevation import PhotoElevation
from .lifting.photo_lifter import PhotoLifter
from .matching import match_views
from .photo_colors import PhotoColors
from .photo_evidence import NO_EVIDENCE, PhotoEvidence
from .reconstruct_views import reconstruct_views
from .reconstruction.reconstructor import SparseNeuSReconstructor
from .segmenter import ForegroundSegmenter
from .silhouette import Silhouette
from .two_stage_views import TwoStageViews
from .view_schedule import (
    LEVEL_OFFSETS,
    NUM_NEAR_VIEWS,
    NUM_STAGE1_VIEWS,
    method_viewpoints,
    tilted_offsets,
)
from .zero123 import fast_solver
from .zero123.camera_projection import CLIPCameraProjection
from .zero123.offloading import OFFLOADED, is_offloaded, with_room_made
from .zero123.pipeline_zero123 import Zero123Pipeline
from .zero123.timesteps import fewest_steps

RgbArray = NDArray[np.uint8]

ELEVATION_SOURCES = ("near_views", "photo")


@dataclass(frozen=True, kw_only=True)
class One2345Output:
    """What a conversion yields."""

    mesh: ColoredMesh
    views: PosedImages
    """All 40 synthesised views: 8 of stage 1, then 32 near views."""
    elevation: ElevationEstimate
    foreground: ForegroundImage


class One2345Pipeline(DiffusionPipeline):
    """One picture to a mesh: Zero123's views, an elevation, a cost volume, a surface.

    Args:
        unet, vae, image_encoder, clip_camera_projection, scheduler: See `Zero123Pipeline`.
        reconstruction: Makes the signed distance field and colours of posed views.
        segmenter: Finds the object in pictures without alpha.
        photo_lifter, photo_elevation: Guess the object's volume and the camera's elevation from
            the photo, which a small Zero123 starts from; None for the published weights.
        eta, drops_largest_timestep, initial_noise_scale, strength: See `Zero123Pipeline`.
        sampler: The one that is used unless a conversion names the other, see `SAMPLERS`.
        num_inference_steps_stage1, num_inference_steps_stage2, guidance_scale: The sampler's
            settings for the 8 views and for the near views (One-2-3-45, run.py:95).
        fast_steps_stage1, fast_steps_stage2: The same numbers of steps for the fast sampler.
        fast_guided_share, fast_reuses_features: See `Zero123Pipeline`.
        resynthesises_input: Whether Zero123 makes view 0 too, as in the original; a small Zero123
            would only blur it, so that the embedded preset takes the input itself.
        reconstructs_from_input: Whether the reconstruction sees view 0 beside the 32 near views,
            which alone the original gives it.
        carves_input_silhouette: Whether what lies outside the photo's outline is cut away. The
            original does not use the photo here; the embedded preset's views need it.
        fills_input_silhouette: Whether a thin layer is put where that outline would stay empty.
        colors_from_input: Whether the surface that the photo shows gets the photo's colours. In the
            original all colours are the near views'.
        elevation_source: One of `ELEVATION_SOURCES`: `near_views` as in the original, or `photo`:
            what `photo_elevation` says. A small Zero123's near views agree on hardly any elevation.
        grid_resolution: Samples of the signed distance field along each axis.
    """

    _optional_components: ClassVar[list[str]] = ["photo_lifter", "photo_elevation"]
    model_cpu_offload_seq = (
        "segmenter->photo_elevation->photo_lifter->image_encoder->clip_camera_projection->unet->vae"
    )

    def __init__(
        self,
        unet: UNet2DConditionModel,
        vae: AutoencoderKL,
        image_encoder: CLIPVisionModelWithProjection,
        clip_camera_projection: CLIPCameraProjection,
        scheduler: DDIMScheduler,
        reconstruction: SparseNeuSReconstructor,
        segmenter: ForegroundSegmenter,
        photo_lifter: PhotoLifter | None = None,
        photo_elevation: PhotoElevation | None = None,
        eta: float = 1.0,
        drops_largest_timestep: bool = True,
        initial_noise_scale: float = 1.0,
        strength: float = 1.0,
        sampler: str = REFERENCE_SAMPLER,
        num_inference_steps_stage1: int = 75,
        num_inference_steps_stage2: int = 50,
        fast_steps_stage1: int = fast_solver.STEPS_STAGE1,
        fast_steps_stage2: int = fast_solver.STEPS_STAGE2,
        fast_guided_share: float = fast_solver.GUIDED_SHARE,
        fast_reuses_features: bool = False,
        guidance_scale: float = 3.0,
        resynthesises_input: bool = True,
        reconstructs_from_input: bool = False,
        carves_input_silhouette: bool = False,
        fills_input_silhouette: bool = False,
        colors_from_input: bool = False,
        elevation_source: str = "near_views",
        grid_resolution: int = 256,
    ) -> None:
        super().__init__()
        if elevation_source not in ELEVATION_SOURCES:
            raise OptionError(
                f"elevation_source: expected one of {', '.join(ELEVATION_SOURCES)}, "
                f"got {elevation_source!r}.",
                hint="Correct it in the preset's model_index.json.",
            )
        if elevation_source == "photo" and (photo_lifter is None or photo_elevation is None):
            raise OptionError(
                "elevation_source 'photo' needs photo_lifter and photo_elevation, one is missing.",
                hint="Use 'near_views', or a preset with these networks.",
            )
        self.register_modules(
            unet=unet,
            vae=vae,
            image_encoder=image_encoder,
            clip_camera_projection=clip_camera_projection,
            scheduler=scheduler,
            reconstruction=reconstruction,
            segmenter=segmenter,
            photo_lifter=photo_lifter,
            photo_elevation=photo_elevation,
        )
        self.register_to_config(
            eta=eta,
            drops_largest_timestep=drops_largest_timestep,
            initial_noise_scale=initial_noise_scale,
            strength=strength,
            sampler=sampler,
            num_inference_steps_stage1=num_inference_steps_stage1,
            num_inference_steps_stage2=num_inference_steps_stage2,
            fast_steps_stage1=fast_steps_stage1,
            fast_steps_stage2=fast_steps_stage2,
            fast_guided_share=fast_guided_share,
            fast_reuses_features=fast_reuses_features,
            guidance_scale=guidance_scale,
            resynthesises_input=resynthesises_input,
            reconstructs_from_input=reconstructs_from_input,
            carves_input_silhouette=carves_input_silhouette,
            fills_input_silhouette=fills_input_silhouette,
            colors_from_input=colors_from_input,
            elevation_source=elevation_source,
            grid_resolution=grid_resolution,
        )

    @property
    def view_size_px(self) -> int:
        """Side of the synthesised views."""
        return int(self.reconstruction.config.image_size_px)

    @property
    def zero123(self) -> Zero123Pipeline:
        """The view generator alone, sharing this pipeline's modules."""
        return Zero123Pipeline(
            vae=self.vae,
            image_encoder=self.image_encoder,
            unet=self.unet,
            clip_camera_projection=self.clip_camera_projection,
            scheduler=self.scheduler,
            **{name: self.config[name] for name in Zero123Pipeline.OPTIONS},
        )

    def default_steps(self, sampler: str, scale: float = 1.0) -> tuple[int, int]:
        """Steps of the 8 views and of the near views, as the config says for a sampler.

        Args:
            sampler: One of `SAMPLERS`.
            scale: Multiplies them, as far as the sampler can take fewer or more.
        """
        config, fewest = self.config, 1
        if sampler == FAST_SAMPLER:
            steps = config.fast_steps_stage1, config.fast_steps_stage2
        else:
            steps = config.num_inference_steps_stage1, config.num_inference_steps_stage2
            fewest = fewest_steps(drops_largest=config.drops_largest_timestep)
        most = int(config.strength * self.scheduler.config.num_train_timesteps)
        most = most if config.initial_noise_scale else 1
        stage1, stage2 = (min(max(round(scale * number), fewest), most) for number in steps)
        return stage1, stage2

    def two_stages(
        self,
        photo: ForegroundImage,
        *,
        seed: int,
        elevation_deg: float | None = None,
        sampler: str | None = None,
        steps_stage1: int | None = None,
        steps_stage2: int | None = None,
        guidance_scale: float | None = None,
        on_event: OnEvent = ignore_events,
    ) -> TwoStageViews:
        """The view generator as a conversion of `photo` uses it; None: as the config says."""
        config = self.config
        sampler = sampler or config.sampler
        default_steps = self.default_steps(sampler)
        return TwoStageViews(
            zero123=self.zero123,
            rgb=photo.rgb,
            guessed=self.guess(photo, elevation_deg),
            seed=seed,
            sampler=sampler,
            steps_stage1=steps_stage1 or default_steps[0],
            steps_stage2=steps_stage2 or default_steps[1],
            guidance_scale=config.guidance_scale if guidance_scale is None else guidance_scale,
            resynthesises_input=config.resynthesises_input,
            on_event=on_event,
        )

    @torch.no_grad()
    def __call__(
        self,
        image: RgbArray,
        *,
        seed: int = 0,
        elevation_deg: float | None = None,
        sampler: str | None = None,
        num_inference_steps_stage1: int | None = None,
        num_inference_steps_stage2: int | None = None,
        guidance_scale: float | None = None,
        grid_resolution: int | None = None,
        on_event: OnEvent = ignore_events,
    ) -> One2345Output:
        """Convert one picture.

        Args:
            image: `(H, W, 4)` or `(H, W, 3)` uint8 sRGB; alpha, if any, marks the object.
            seed: The same seed gives the same mesh on the same device.
            elevation_deg: The camera's, above the horizon; None: estimate it.
            sampler, num_inference_steps_stage1, num_inference_steps_stage2, guidance_scale,
            grid_resolution: None: as the preset's config says.
            on_event: Hears of progress, views and warnings; may raise `Cancelled`.

        Raises:
            ForegroundError: The picture shows no object, or nothing but object.
            EmptySurfaceError: The views do not add up to a surface.
        """
        on_event(StageStarted("foreground"))
        foreground = self.prepare(image)
        on_event(ViewReady("foreground", foreground.rgb))
        two_stages = self.two_stages(
            foreground,
            seed=seed,
            elevation_deg=elevation_deg,
            sampler=sampler,
            steps_stage1=num_inference_steps_stage1,
            steps_stage2=num_inference_steps_stage2,
            guidance_scale=guidance_scale,
            on_event=on_event,
        )
        views, elevation = self.synthesise(two_stages, elevation_deg)
        mesh = self.reconstruct(
            self.source_views(views),
            grid_resolution or self.config.grid_resolution,
            on_event,
            self.evidence(foreground, elevation, two_stages.guessed),
        )
        return One2345Output(mesh=mesh, views=views, elevation=elevation, foreground=foreground)

    def synthesise(
        self, two_stages: TwoStageViews, elevation_deg: float | None
    ) -> tuple[PosedImages, ElevationEstimate]:
        """All 40 views of a photo, and the elevation that their cameras have.

        Args:
            two_stages: Bound to the photo.
            elevation_deg: Of the photo's camera; None: estimate it.
        """
        on_event = two_stages.on_event
        if is_offloaded(self):
            on_event(OFFLOADED)
        on_event(StageStarted("views_stage1"))
        level, near_level = two_stages.views_with_near_views(
            LEVEL_OFFSETS, first_view=0, stage="views_stage1"
        )
        on_event(StageStarted("elevation"))
        elevation = self._elevation(two_stages, near_level[:NUM_NEAR_VIEWS], elevation_deg)
        on_event(StageStarted("views_stage2"))
        tilted, near_tilted = two_stages.views_with_near_views(
            tilted_offsets(elevation.elevation_deg), first_view=len(level), stage="views_stage2"
        )
        cameras = method_rig(method_viewpoints(elevation.elevation_deg), self.view_size_px)
        views = PosedImages(
            rgb=np.concatenate([level, tilted, near_level, near_tilted]),
            cameras=cameras,
            reference_c2w=cameras.c2w[0],
        )
        return views, elevation

    def prepare(self, image: RgbArray) -> ForegroundImage:
        """The object of a picture alone, centred on white (paper section 4.1)."""
        return prepare_foreground(image, segment(image, self.segmenter), size_px=self.view_size_px)

    def guess(
        self, photo: ForegroundImage, elevation_deg: float | None = None
    ) -> GuessedObject | None:
        """The photo's object lifted to a volume, where the preset has networks for that."""
        if self.photo_lifter is None or self.photo_elevation is None:
            return None
        return guess_object(
            self.photo_lifter, self.photo_elevation, photo.rgb, photo.mask, elevation_deg
        )

    def evidence(
        self,
        photo: ForegroundImage,
        elevation: ElevationEstimate,
        guessed: GuessedObject | None,
    ) -> PhotoEvidence:
        """What of the photo, taken from this elevation, the config wants beside its views."""
        config = self.config
        rig = method_rig(method_viewpoints(elevation.elevation_deg)[:1], self.view_size_px)
        silhouette = Silhouette(mask=photo.mask, c2w=rig.c2w[0], K=rig.K)
        guess = None
        if guessed is not None and self.reconstruction.config["takes_guess"]:
            guess = guessed.seen_from(elevation).grid
        return PhotoEvidence(
            guess=guess,
            silhouette=silhouette if config.carves_input_silhouette else None,
            fills_silhouette=config.fills_input_silhouette,
            colors=(
                PhotoColors(rgb=photo.detail_rgb, silhouette=silhouette)
                if config.colors_from_input
                else None
            ),
        )

    def source_views(self, views: PosedImages) -> PosedImages:
        """Those of the method's 40 views that the reconstruction sees."""
        first = [0] if self.config.reconstructs_from_input else []
        return views.chosen([*first, *range(NUM_STAGE1_VIEWS, len(views.rgb))])

    def reconstruct(
        self,
        views: PosedImages,
        grid_resolution: int,
        on_event: OnEvent,
        evidence: PhotoEvidence = NO_EVIDENCE,
    ) -> ColoredMesh:
        """Posed views to a mesh in the cameras' world frame (paper section 3.3).

        Args:
            views: Of one object.
            grid_resolution: Samples of the signed distance field along each axis.
            on_event: Hears of progress.
            evidence: Of the photo that the views were made from, in the cameras' world.

        Raises:
            EmptySurfaceError: The views do not add up to a surface.
        """
        return with_room_made(
            self,
            lambda: reconstruct_views(
                self.reconstruction, views, grid_resolution, on_event, evidence
            ),
            on_event,
        )

    def _elevation(
        self, two_stages: TwoStageViews, near_views: RgbArray, given_deg: float | None
    ) -> ElevationEstimate:
        """What is given; else what the photo or the near views of view 0 say; else the prior."""
        if given_deg is not None:
            return ElevationEstimate.given(given_deg)
        if self.config.elevation_source == "photo":
            assert two_stages.guessed is not None
            return two_stages.guessed.elevation
        estimate = estimate_elevation(
            match_views(near_views, two_stages.on_event), self.view_size_px
        )
        if not estimate.is_estimated:
            two_stages.on_event(assumption_warning(estimate.elevation_deg))
        return estimate
