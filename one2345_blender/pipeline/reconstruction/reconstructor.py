# SPDX-License-Identifier: GPL-3.0-or-later
"""The reconstruction network of One-2-3-45: posed images -> signed distance and colour.

The defaults are the original's, with every quirk that its published weights expect; each quirk is a
switch in the config, described in docs/numerical_parity.md.
"""

from typing import Literal

import torch
from torch import Tensor

from ...contracts.cameras import NEAR_FAR
from ...contracts.errors import OptionError, PosedImagesError
from ...contracts.progress import OnEvent, StageStarted, ignore_events
from ..diffusers_start import ConfigMixin, ModelMixin, register_to_config
from ..lifting.radiance import MAX_DENSITY, RadianceGrid, inside_logit
from .color_network import ColorNetwork, ray_differences
from .cost_volume import CostVolumeBuilder
from .feature_net import FUSED_CHANNELS, FeatureNet
from .frame import VolumeFrame, frusta_bounds, sphere_bounds, volume_frame
from .geometry_volume import GeometryVolume
from .grid_sdf import GridSdf
from .sdf_network import SdfNetwork, sample_latents, trilinear
from .unet3d import UNet3d
from .view_sampling import sample_views

GUESS_CHANNELS = 5
"""Of a first guess: how dense it is, 0..1, its colour by that much, and the probability of being
inside: the density is too steep to tell one of a quarter from none."""


class SparseNeuSReconstructor(ModelMixin, ConfigMixin):
    """Posed images of one object -> geometry volume -> signed distance and colour at points.

    Args:
        image_size_px: side of the square input images.
        volume_size: voxels per axis. The weights do not depend on it.
        voxel_size: side of a voxel in volume units; None for exactly 2/(volume_size-1). The
            original's 0.02105263 is truncated.
        volume_bounds: "frusta" puts the cube around all view frusta, "sphere" around the world
            origin. Both are aligned with the reference camera.
        volume_radius: half side of the "sphere" cube, world units.
        frusta_margin: factor on the "frusta" cube.
        compressed_channels: image feature channels that enter the cost volume.
        unet_channels: of the 3D U-Net's four levels.
        sdf_hidden_channels: width of the signed distance network.
        sdf_num_frequencies: of its positional encoding.
        min_views_per_voxel: a voxel is active when at least that many views see it.
        batch_statistics_at_inference: normalise by the statistics of the object at hand.
        abs_gamma: scale the 2D normalisation by |gamma| + 1e-5.
        sum_over_all_views: keep image samples of views that do not see the voxel in its sums.
        unbounded_far_sites: stride-2 convolutions get a site beyond an even far border.
        strict_latent_bounds: latents are zero on the near faces of the cube and continue one
            voxel beyond the far faces.
        takes_guess: whether the 3D U-Net also sees a first guess of the object, lifted from the
            photo. The original's does not.
        surface_search_stride: a mesh's grid is first evaluated at every n-th node per axis, then
            where the surface can be (`searched_sdf_grid`). 1 evaluates every node.
        iso_level: signed distance that counts as the surface, volume units; below 0 the mesh gets
            slimmer.
        smoothing_voxels: width (standard deviation) of the Gaussian that the mesh's signed distance
            is smoothed with. Coarse volumes leave terraces, the original's need none.
        guess_share: of the guess's own signed distance in the mesh's, where there is a guess. The
            network's and the guess's errors are not the same.
        min_part_fraction: connected parts of the mesh with fewer faces than this share of the
            largest one's are left out.
    """

    config_name = "config.json"

    @register_to_config
    def __init__(
        self,
        image_size_px: int = 256,
        volume_size: int = 96,
        voxel_size: float | None = 0.02105263,
        volume_bounds: Literal["frusta", "sphere"] = "frusta",
        volume_radius: float = 0.62,
        frusta_margin: float = 1.1,
        compressed_channels: int = 16,
        unet_channels: tuple[int, int, int, int] = (16, 16, 32, 64),
        sdf_hidden_channels: int = 128,
        sdf_num_frequencies: int = 6,
        min_views_per_voxel: int = 2,
        batch_statistics_at_inference: bool = True,
        abs_gamma: bool = True,
        sum_over_all_views: bool = True,
        unbounded_far_sites: bool = True,
        strict_latent_bounds: bool = True,
        takes_guess: bool = False,
        surface_search_stride: int = 4,
        iso_level: float = 0.0,
        smoothing_voxels: float = 0.0,
        guess_share: float = 0.0,
        min_part_fraction: float = 0.0,
    ) -> None:
        super().__init__()
        exact_voxel_size = 2 / (volume_size - 1)
        if voxel_size is not None and abs(voxel_size - exact_voxel_size) > 1e-6:
            raise OptionError(
                f"voxel_size: expected 2/(volume_size-1) = {exact_voxel_size:.8f} "
                f"for {volume_size} voxels, got {voxel_size}.",
                hint="Set voxel_size to null unless the weights were made with a rounded one.",
            )
        if volume_bounds not in ("frusta", "sphere"):
            raise OptionError(
                f"volume_bounds: expected 'frusta' or 'sphere', got {volume_bounds!r}."
            )
        self.feature_net = FeatureNet(
            batch_statistics_at_inference=batch_statistics_at_inference, abs_gamma=abs_gamma
        )
        self.cost_volume = CostVolumeBuilder(
            FUSED_CHANNELS,
            compressed_channels,
            volume_size=volume_size,
            voxel_size=voxel_size or exact_voxel_size,
            min_views=min_views_per_voxel,
            sum_over_all_views=sum_over_all_views,
            batch_statistics_at_inference=batch_statistics_at_inference,
            abs_gamma=abs_gamma,
        )
        self.unet3d = UNet3d(
            2 * compressed_channels + (GUESS_CHANNELS if takes_guess else 0),
            unet_channels,
            unbounded_far_sites=unbounded_far_sites,
            batch_statistics_at_inference=batch_statistics_at_inference,
        )
        self.sdf_network = SdfNetwork(unet_channels[0], sdf_hidden_channels, sdf_num_frequencies)
        self.color_network = ColorNetwork(unet_channels[0], FUSED_CHANNELS)

    @property
    def smoothing(self) -> float:
        """`smoothing_voxels` in volume units."""
        return float(self.config["smoothing_voxels"] * 2 / (self.config["volume_size"] - 1))

    def place_volume(
        self,
        c2w: Tensor,
        K: Tensor,
        reference_c2w: Tensor,
        near_far: tuple[float, float] = NEAR_FAR,
    ) -> VolumeFrame:
        """The volume's frame for V cameras `c2w` (V,4,4), world units."""
        c2w, K, reference_c2w = c2w.cpu(), K.cpu(), reference_c2w.cpu()
        if self.config["volume_bounds"] == "sphere":
            centre, radius = sphere_bounds(reference_c2w, self.config["volume_radius"])
        else:
            centre, radius = frusta_bounds(
                c2w, K, reference_c2w, near_far, self.config["frusta_margin"]
            )
        return volume_frame(c2w, K, reference_c2w, centre, radius, self.device)

    def encode(
        self,
        rgb: Tensor,
        c2w: Tensor,
        K: Tensor,
        reference_c2w: Tensor,
        *,
        near_far: tuple[float, float] = NEAR_FAR,
        guess: RadianceGrid | None = None,
        on_event: OnEvent = ignore_events,
    ) -> GeometryVolume:
        """Posed images -> `GeometryVolume`.

        Args:
            rgb: (V,3,S,S) float32 sRGB 0..1 on white, S = image_size_px.
            c2w: (V,4,4) camera to world, OpenCV axes.
            K: (3,3) intrinsics, pixels.
            reference_c2w: (4,4) OpenCV camera that the volume is aligned with (stage-1 view 0).
            near_far: depth range of the frusta, world units.
            guess: of the object in the cameras' world, for a network that takes one; None where
                only the images are known.
            on_event: told when a stage starts; may raise to stop.

        Raises:
            PosedImagesError: fewer images than `min_views_per_voxel`, wrong sizes.
            OptionError: a guess for a network that takes none.
        """
        frame = self.place_volume(c2w, K, reference_c2w, near_far)
        return self.encode_in_frame(rgb, frame, guess=guess, on_event=on_event)

    def encode_in_frame(
        self,
        rgb: Tensor,
        frame: VolumeFrame,
        *,
        guess: RadianceGrid | None = None,
        on_event: OnEvent = ignore_events,
    ) -> GeometryVolume:
        """Images (V,3,S,S), as in `encode`, whose cameras `frame` holds -> `GeometryVolume`."""
        self._check_images(rgb, len(frame.camera_centres))
        on_event(StageStarted("features"))
        fused = self.feature_net(rgb).fused()
        on_event(StageStarted("cost_volume"))
        cost = self.cost_volume(fused, frame)
        # a pixel's channels side by side, as samples want them; before the U-Net, which needs room
        view_features = torch.cat([rgb, fused], dim=1).contiguous(memory_format=torch.channels_last)
        del fused
        features = self._with_guess(cost.features, frame, guess) * cost.active
        return GeometryVolume(
            features=self.unet3d(features, cost.active),
            valid=cost.active,
            frame=frame,
            view_features=view_features,
        )

    def _with_guess(
        self, features: Tensor, frame: VolumeFrame, guess: RadianceGrid | None
    ) -> Tensor:
        """The cost volume (C,X,Y,Z), and for a network that takes a guess what that says.

        Where there is no guess, all of it is zero; where a guess is empty, all but the probability.
        """
        if not self.config["takes_guess"]:
            if guess is not None:
                raise OptionError("This reconstruction network takes no guess, one was given.")
            return features
        shape = features.shape[1:]
        if guess is None:
            guessed = features.new_zeros(GUESS_CHANNELS, *shape)
        else:
            density, rgb = guess.at(frame.to_world(self.cost_volume.voxel_centres(features.device)))
            share = density / MAX_DENSITY
            probability = inside_logit(density).sigmoid()
            guessed = torch.cat([share[None], share * rgb, probability[None]])
            guessed = guessed.reshape(-1, *shape)
        return torch.cat([features, guessed])

    def sdf(self, volume: GeometryVolume, points: Tensor) -> Tensor:
        """Signed distance (P,) in volume units, negative inside, at volume points (P,3)."""
        latents = sample_latents(
            volume.features, points, strict_bounds=self.config["strict_latent_bounds"]
        )
        return self.sdf_network.sdf(points, latents)

    def grid_sdf(self, volume: GeometryVolume, resolution: int) -> GridSdf:
        """`sdf` less the `iso_level`, at the nodes of linspace(-1,1,resolution) on each axis."""
        return GridSdf(
            self.sdf_network,
            volume.features,
            resolution,
            strict_bounds=self.config["strict_latent_bounds"],
            iso_level=self.config["iso_level"],
        )

    def sdf_and_gradient(self, volume: GeometryVolume, points: Tensor) -> tuple[Tensor, Tensor]:
        """Signed distance (P,) and its gradient (P,3) with respect to the volume points (P,3)."""
        with torch.enable_grad():
            points = points.detach().requires_grad_()
            sdf = self.sdf(volume, points)
            (gradient,) = torch.autograd.grad(sdf.sum(), points, retain_graph=sdf.requires_grad)
        return sdf, gradient

    def color(self, volume: GeometryVolume, points: Tensor, normals: Tensor) -> Tensor:
        """sRGB colours (P,3), 0..1, at volume points (P,3) with unit outward `normals` (P,3)."""
        view_features, seen = sample_views(volume, points)
        return self.color_network(
            trilinear(volume.features, points, padding_mode="zeros"),
            view_features,
            ray_differences(volume.frame.camera_centres, points, normals),
            seen,
        )

    def _check_images(self, rgb: Tensor, num_cameras: int) -> None:
        size_px = self.config["image_size_px"]
        if rgb.shape[1:] != (3, size_px, size_px) or len(rgb) != num_cameras:
            raise PosedImagesError(
                f"Expected one (3, {size_px}, {size_px}) image for each of {num_cameras} cameras, "
                f"got images of shape {tuple(rgb.shape)}.",
                hint=f"Resize the images to {size_px} x {size_px} px.",
            )
        if len(rgb) < self.config["min_views_per_voxel"]:
            raise PosedImagesError(
                f"Expected at least {self.config['min_views_per_voxel']} images, got {len(rgb)}.",
                hint="Give more posed images of the object.",
            )
