# SPDX-License-Identifier: GPL-3.0-or-later
"""Train the reconstruction network: a new one, in a cube around the object, or a preset's further.

Where the original learns from rendered rays for days on GPUs, this learns from depth directly: the
truncated signed distance at random points and the true colour at surface points, one rig a step.
Rays are one of its recipes.
"""

from __future__ import annotations

import argparse
import copy
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..contracts.errors import OptionError
from ..pipeline.lifting.photo_lifter import PhotoLifter
from ..pipeline.preset_weights import load_reconstruction
from ..pipeline.reconstruction.geometry_volume import GeometryVolume
from ..pipeline.reconstruction.reconstructor import SparseNeuSReconstructor
from .framing import MAX_OBJECT_RADIUS
from .ray_rendering import RaySupervision
from .reconstruction_data import ReconstructionData, ReconstructionExample, SourceViews
from .reconstruction_recipes import RECIPES, SHIPPED, ReconstructionRecipe
from .run_folder import RunFolder, read_log
from .training_loop import TrainingLoop, share_of
from .training_options import TrainingOptions, add_start_from, options_from, options_parser
from .validate_reconstruction import mean_scores, validate
from .view_data import rendered_ids, require_rendered_size, view_size_px

PEAK_LEARNING_RATE = 2e-3
FURTHER_LEARNING_RATE = 1e-4
"""For a network that was trained before."""
VOLUME_SIZE = 64
SURFACE_SEARCH_STRIDE = 4
COLOR_WEIGHT = 0.2
INSIDE_WEIGHT = 2.0
"""Of points inside the object, where the sources are true views: disturbed ones contradict each
other, and would carve too much away."""
PREDICTED_INSIDE_WEIGHT = 1.5
"""The same where they are predicted, and often do not say what is inside: that is then what is so
with a probability over 0.4. Surfaces of guesses are nearest to the true ones at a
logit of -0.5, a probability of 0.38."""


def embedded_reconstructor(
    volume_size: int, image_size_px: int, *, takes_guess: bool = True
) -> SparseNeuSReconstructor:
    """The network of the embedded preset; its weights fit any volume and image size."""
    return SparseNeuSReconstructor(
        image_size_px=image_size_px,
        volume_size=volume_size,
        voxel_size=None,
        volume_bounds="sphere",
        volume_radius=MAX_OBJECT_RADIUS,
        takes_guess=takes_guess,
        surface_search_stride=SURFACE_SEARCH_STRIDE,
    )


class ReconstructionObjective(nn.Module):
    """Signed distance and colour of examples, directly from rendered depth, or their rays."""

    def __init__(
        self, reconstructor: SparseNeuSReconstructor, recipe: ReconstructionRecipe = SHIPPED
    ) -> None:
        super().__init__()
        self.reconstructor = reconstructor
        for part, layout in (
            (reconstructor.feature_net, torch.channels_last),
            (reconstructor.cost_volume, torch.channels_last),
            (reconstructor.unet3d, torch.channels_last_3d),
        ):
            part.to(memory_format=layout)  # type: ignore[call-overload]
        self.rays = RaySupervision() if recipe.supervision == "rays" else None

    def forward(self, examples: list[ReconstructionExample]) -> dict[str, Tensor]:
        """From depth, `sdf`: weighted mean absolute error in volume units; `color`: mean absolute
        error. From rays, see `RaySupervision`."""
        each = [self._losses(example) for example in examples]
        return {name: torch.stack([loss[name] for loss in each]).mean() for name in each[0]}

    def _losses(self, example: ReconstructionExample) -> dict[str, Tensor]:
        reconstructor, volume = self.reconstructor, self._encoded(example.sources)
        if self.rays is not None:
            return self.rays(reconstructor, volume, example.rays)
        frame = volume.frame
        sdf = reconstructor.sdf(volume, frame.to_volume(example.points))
        surface = frame.to_volume(example.surface_points)
        color = reconstructor.color(volume, surface, _normals(reconstructor, volume, surface))
        error = (sdf - example.sdf / frame.radius).abs()
        inside_weight = PREDICTED_INSIDE_WEIGHT if example.is_predicted else INSIDE_WEIGHT
        weight = torch.where(example.sdf < 0, inside_weight, 1.0)
        losses = {"sdf": (weight * error).mean(), "color": F.l1_loss(color, example.surface_rgb)}
        return {"loss": losses["sdf"] + COLOR_WEIGHT * losses["color"], **losses}

    def _encoded(self, sources: SourceViews) -> GeometryVolume:
        """The convolutions in bfloat16; what follows them asks for less than its rounding."""
        with torch.autocast(sources.rgb.device.type, torch.bfloat16):
            volume = self.reconstructor.encode(
                sources.rgb, sources.c2w, sources.K, sources.reference_c2w, guess=sources.guess
            )
        return replace(volume, features=volume.features.float())


def _normals(
    reconstructor: SparseNeuSReconstructor, volume: GeometryVolume, points: Tensor
) -> Tensor:
    """Unit gradients of the signed distance (P,3), as constants."""
    _, gradient = reconstructor.sdf_and_gradient(volume, points)
    return F.normalize(gradient.detach(), dim=-1, eps=1e-6)


def main(argv: list[str]) -> None:
    """`python -m one2345_blender.training reconstruction`."""
    parser = reconstruction_parser("reconstruction", __doc__)
    parser.add_argument(
        "--recipe", choices=RECIPES, default="depth", help="see reconstruction_recipes.py"
    )
    parser.add_argument("--run", type=Path, help="folder of the run; default: in the data's")
    parser.add_argument("--export", type=Path, help="folder for the weights of the best state")
    args = parser.parse_args(argv)
    run_dir = args.run or args.data / "reconstruction"
    train_reconstruction(
        options_from(args), args, run_dir, RECIPES[args.recipe], export_dir=args.export
    )


def reconstruction_parser(command: str, description: str | None) -> argparse.ArgumentParser:
    """The options of any training of it; a command adds what it trains."""
    parser = options_parser(command, description)
    parser.add_argument("--validate-every-minutes", type=float, default=8.0)
    parser.add_argument("--num-validation-objects", type=int, default=6)
    add_start_from(
        parser, "train the network of this preset's folder further, in the sizes that it has"
    )
    parser.add_argument(
        "--export-share",
        type=float,
        default=1.0,
        help="validate and export the mean of the weights started from and the trained ones, which "
        "have so much of it (arXiv 2109.01903)",
    )
    parser.add_argument("--volume-size", type=int, help="voxels per axis in training, 64")
    parser.add_argument("--image-size", type=int, help="px, in training; the renders'")
    parser.add_argument("--export-volume-size", type=int, help="voxels per axis in use, 64")
    parser.add_argument(
        "--no-guess", action="store_true", help="images alone, as the original; needs no lifter"
    )
    parser.add_argument("--num-sources", type=int, nargs=2, default=(8, 16), metavar=("MIN", "MAX"))
    parser.add_argument("--num-points", type=int, default=8192)
    parser.add_argument("--num-surface-points", type=int, default=512)
    return parser


def train_reconstruction(
    options: TrainingOptions,
    args: argparse.Namespace,
    run_dir: Path,
    recipe: ReconstructionRecipe = SHIPPED,
    *,
    export_dir: Path | None = None,
) -> dict[str, float]:
    """Train; validate and export the averaged network now and then.

    Args:
        options: `data` holds `renders`, `split.json`, the trained `lifter/photo_lifter` for a new
            network that takes a guess and, as they appear, `predicted` views.
        args: The other options of `reconstruction_parser`.
        run_dir: Of the run.
        recipe: What is learnt from.
        export_dir: For the weights of the best state.

    Returns:
        The last scores, see `validate`; none where no validation object is rendered.

    Raises:
        OptionError: The sizes do not go together, nothing is rendered yet, or there are no weights
            to take a mean with.
        CheckpointError: The preset has no such network, or it is not whole.
    """
    run = RunFolder(run_dir)
    size_px = view_size_px(options.data)
    if not 0.0 < args.export_share <= 1.0 or (args.export_share < 1.0 and not args.start_from):
        raise OptionError(
            "--export-share: expected more than 0 and at most 1, and 1 for a new network, got "
            f"{args.export_share:g}.",
            hint="Give --start-from PRESET_DIR with it.",
        )
    if args.start_from is None:
        reconstructor, in_use = _new_networks(args, size_px)
        lifter_dir = options.data / "lifter" / "photo_lifter"
    else:
        reconstructor = _preset_network(args)
        in_use = copy.deepcopy(reconstructor)
        lifter_dir = args.start_from / "photo_lifter"
    takes_guess = reconstructor.config["takes_guess"]
    lifter = PhotoLifter.from_pretrained(lifter_dir) if takes_guess else None
    data = ReconstructionData(
        options.data,
        share_of(rendered_ids(options.data, "train"), options),
        image_size_px=reconstructor.config["image_size_px"],
        num_points=args.num_points,
        num_surface_points=args.num_surface_points,
        lifter=lifter,
        recipe=recipe,
    )
    objective = ReconstructionObjective(reconstructor, recipe)
    averaged = copy.deepcopy(objective).eval().requires_grad_(False)
    loop = TrainingLoop(
        run,
        objective,
        torch.optim.Adam(objective.parameters(), betas=(0.9, 0.99)),
        options,
        batch_size=1,
        peak_rate=PEAK_LEARNING_RATE if args.start_from is None else FURTHER_LEARNING_RATE,
        decay_fraction=0.5,
        averaged=averaged,
    )
    loop.saw(len(data.asset_ids))
    loop.log(event="start", started_from=args.start_from and str(args.start_from))
    exports = [e for e in read_log(run.path) if e.get("exported")] if options.resume else []
    best: dict[str, float] = exports[-1]["validation"] if exports else {}
    scores: dict[str, float] = {}

    def validate_and_export() -> None:
        nonlocal best, scores
        names = rendered_ids(options.data, "val")[: args.num_validation_objects]
        if not names:
            return
        exported = copy.deepcopy(in_use).to(reconstructor.device).eval()
        trained, before = averaged.reconstructor.state_dict(), exported.state_dict()
        share = args.export_share
        exported.load_state_dict(
            {
                name: torch.lerp(before[name], w, share) if w.is_floating_point() else w
                for name, w in trained.items()
            }
        )
        rows = validate(
            exported,
            options.data,
            names,
            run.path / "pictures",
            lifter,
            recipe=recipe,
        )
        scores = mean_scores(rows)
        is_better = not best or _error(scores) < _error(best)
        if is_better:
            best = scores
            if export_dir is not None:
                exported.half().save_pretrained(export_dir)
        loop.log(validation=scores, exported=is_better and export_dir is not None)

    loop.every(60.0 * args.validate_every_minutes, validate_and_export, at_end=True)
    loop.take_steps(lambda slots: [data.draw(args.num_sources, slot.rng) for slot in slots])
    return scores


def _error(scores: dict[str, float]) -> float:
    """Of the distance, from true and, where there are any, from predicted views."""
    return sum(value for name, value in scores.items() if name.endswith("sdf_l1"))


def _new_networks(
    args: argparse.Namespace, size_px: int
) -> tuple[SparseNeuSReconstructor, SparseNeuSReconstructor]:
    """One to train, and one that takes its weights when it is used."""
    sizes = (
        (args.volume_size or VOLUME_SIZE, args.image_size or size_px),
        (args.export_volume_size or VOLUME_SIZE, size_px),
    )
    trained, in_use = (embedded_reconstructor(*s, takes_guess=not args.no_guess) for s in sizes)
    return trained, in_use


def _preset_network(args: argparse.Namespace) -> SparseNeuSReconstructor:
    """The one of the preset's folder, whose sizes nobody may ask to be others."""
    if args.volume_size or args.image_size or args.export_volume_size or args.no_guess:
        raise OptionError(
            f"The network of {args.start_from} comes with its sizes and inputs.",
            hint="Leave out --volume-size, --image-size, --export-volume-size and --no-guess.",
        )
    reconstructor = load_reconstruction(args.start_from / "reconstruction")
    require_rendered_size(args.data, args.start_from, reconstructor.config["image_size_px"])
    return reconstructor
