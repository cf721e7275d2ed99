# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line: `python -m one2345_blender COMMAND`; `--help` lists the commands.

Exit status: 0 done; 2 bad input or wrong use, with one error and one hint on stderr; 1 unexpected,
with a traceback in a file; 130 cancelled. The method is imported when a command runs, not before.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from .contracts.errors import Cancelled, One2345Error, OptionError, OutputError
from .contracts.job import DEVICES, MAX_SEED, PRESETS, SAMPLERS, JobSpec
from .contracts.job_folder import write_traceback
from .installation.commands import add_installation_commands
from .version import __version__

if TYPE_CHECKING:
    from .contracts.progress import OnEvent
    from .pipeline.job_record import JobResult

EXIT_DONE, EXIT_UNEXPECTED, EXIT_BAD_INPUT, EXIT_CANCELLED = 0, 1, 2, 130
GRID_RESOLUTIONS = (16, 512)


class _Parser(argparse.ArgumentParser):
    """Wrong use reads like every other error: `error: ...`, `hint: ...`."""

    def error(self, message: str) -> NoReturn:
        _say_error(message[:1].upper() + message[1:], f"{self.prog} --help lists the options.")
        sys.exit(EXIT_BAD_INPUT)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; the exit status."""
    options = build_parser().parse_args(arguments)
    try:
        result: JobResult = options.run(options)
    except (Cancelled, KeyboardInterrupt):
        _say("cancelled")
        return EXIT_CANCELLED
    except One2345Error as error:
        _say_error(error.message, error.hint)
        return EXIT_BAD_INPUT
    except Exception as error:  # the last place where an unexpected failure can be told
        path = _write_traceback(options.output)
        _say_error(
            f"Unexpected {type(error).__name__}: {error}", f"Please report it with the file {path}."
        )
        return EXIT_UNEXPECTED
    if options.json:
        print(json.dumps({**result.report, "files": result.files}, indent=1, allow_nan=False))
    else:
        print(options.show(options, result))
    return EXIT_DONE if result.report.get("is_healthy", True) else EXIT_BAD_INPUT


def build_parser() -> argparse.ArgumentParser:
    """The parser; `options.run` is the command's function, `options.show` tells its result."""
    parser = _Parser(
        prog="python -m one2345_blender",
        description="A photo becomes a coloured mesh: One-2-3-45, offline, on a CPU or a GPU.",
    )
    parser.add_argument("--version", action="version", version=f"one2345 {__version__}")
    commands = parser.add_subparsers(title="commands", required=True, metavar="COMMAND")
    _add_convert(commands)
    _add_reconstruct(commands)
    _add_views(commands)
    _add_import_checkpoint(commands)
    add_installation_commands(commands)
    return parser


def _add_convert(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = _add_command(commands, "convert", _convert, "a photo becomes a mesh")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the photo; its alpha is used")
    _add_sampling(parser)
    parser.add_argument(
        "--elevation-deg",
        type=_number(-90, 90),
        metavar="X",
        help="the photo's camera above the horizon, -90 to 90 (default: estimated)",
    )
    for stage, views in ((1, "first 8 views"), (2, "32 near views")):
        parser.add_argument(
            f"--num-inference-steps-stage{stage}",
            type=_whole_number(1, 1000),
            metavar="N",
            help=f"denoising steps of the {views} (default: the preset's)",
        )
    _add_resolution(parser, "the preset's")
    parser.add_argument(
        "--memory-limit-gb",
        type=_number(0.1, 10_000),
        metavar="GB",
        help="what the job may take of a CUDA device's memory, or of the computer's under Linux; "
        "beyond it is an error (default: no limit)",
    )


def _add_reconstruct(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = _add_command(commands, "reconstruct", _reconstruct, "posed pictures become a mesh")
    parser.add_argument(
        "folder", type=Path, metavar="DIR", help="holds transforms.json in the NeRF form"
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="FILE",
        help="the original's .pth, or a folder with config.json and safetensors "
        "(default: the embedded network)",
    )
    _add_resolution(parser, "256")


def _add_views(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = _add_command(commands, "views", _views, "chosen views of the object in a photo")
    parser.add_argument("image", type=Path, metavar="IMAGE", help="the photo; its alpha is used")
    _add_sampling(parser)
    parser.add_argument(
        "--azimuth-deg",
        type=_number(-360, 360),
        nargs="+",
        required=True,
        metavar="A",
        help="for each view, degrees from the photo's camera, counter-clockwise from above",
    )
    parser.add_argument(
        "--elevation-deg",
        type=_number(-180, 180),
        nargs="+",
        default=[0.0],
        metavar="E",
        help="for each view or for all, degrees higher than the photo's camera (default: 0)",
    )
    parser.add_argument(
        "--num-inference-steps",
        type=_whole_number(1, 1000),
        metavar="N",
        help="denoising steps (default: the preset's)",
    )


def _add_import_checkpoint(commands: argparse._SubParsersAction[_Parser]) -> None:
    parser = _add_command(
        commands,
        "import-checkpoint",
        _import_checkpoint,
        "published weights become a preset's folder",
        has_device=False,
    )
    parser.add_argument(
        "source",
        type=Path,
        metavar="FILE",
        help="zero123-xl.ckpt, ckpt_215000.pth or a folder in the diffusers layout",
    )
    parser.add_argument(
        "--config",
        type=Path,
        metavar="JSON",
        help="sizes of the networks in a Zero123 checkpoint (default: the published ones)",
    )


def _add_command(
    commands: argparse._SubParsersAction[_Parser],
    name: str,
    run: Callable[[argparse.Namespace], JobResult],
    help_text: str,
    *,
    has_device: bool = True,
) -> _Parser:
    """A command with the options that all of them take."""
    parser = commands.add_parser(name, help=help_text, description=help_text.capitalize() + ".")
    parser.add_argument(
        "--output", type=Path, required=True, metavar="DIR", help="folder for the results"
    )
    if has_device:
        parser.add_argument(
            "--device", choices=DEVICES, default="auto", help="default: the fastest"
        )
    parser.add_argument("--json", action="store_true", help="print the report as JSON on stdout")
    parser.set_defaults(run=run, show=lambda options, result: "\n".join(result.files.values()))
    return parser


def _add_sampling(parser: _Parser) -> None:
    parser.add_argument(
        "--preset",
        default="embedded",
        metavar="NAME",
        help=f"weights: {', '.join(PRESETS)}, or a folder in their layout (default: embedded)",
    )
    parser.add_argument(
        "--seed",
        type=_whole_number(0, MAX_SEED),
        default=0,
        metavar="N",
        help="same seed, same result (default: 0)",
    )
    parser.add_argument(
        "--sampler",
        choices=SAMPLERS,
        help="step by step as published, or in far fewer steps (default: the preset's)",
    )
    parser.add_argument(
        "--guidance-scale",
        type=_number(0, 50),
        metavar="S",
        help="how closely views follow the photo (default: the preset's)",
    )


def _add_resolution(parser: _Parser, default_text: str) -> None:
    parser.add_argument(
        "--resolution",
        type=_whole_number(*GRID_RESOLUTIONS),
        metavar="N",
        help=f"samples of the distance field along each axis, 16 to 512 (default: {default_text})",
    )


def _convert(options: argparse.Namespace) -> JobResult:
    spec = JobSpec(
        job_id=uuid.uuid4().hex,
        image_path=options.image.absolute(),
        output_dir=options.output.absolute(),
        preset=options.preset,
        seed=options.seed,
        device=options.device,
        elevation_deg=options.elevation_deg,
        sampler=options.sampler,
        num_inference_steps_stage1=options.num_inference_steps_stage1,
        num_inference_steps_stage2=options.num_inference_steps_stage2,
        guidance_scale=options.guidance_scale,
        grid_resolution=options.resolution,
        memory_limit_gb=options.memory_limit_gb,
    )
    from .pipeline.convert import convert_image
    from .pipeline.model_cache import ModelCache

    with _progress() as on_event:
        return convert_image(spec, models=ModelCache(), on_event=on_event)


def _reconstruct(options: argparse.Namespace) -> JobResult:
    from .pipeline.reconstruct_folder import reconstruct_folder

    resolution = {} if options.resolution is None else {"grid_resolution": options.resolution}
    with _progress() as on_event:
        return reconstruct_folder(
            options.folder.absolute(),
            options.output.absolute(),
            checkpoint=options.checkpoint,
            device=options.device,
            on_event=on_event,
            **resolution,
        )


def _views(options: argparse.Namespace) -> JobResult:
    azimuths, elevations = options.azimuth_deg, options.elevation_deg
    if len(elevations) == 1:
        elevations = elevations * len(azimuths)
    if len(elevations) != len(azimuths):
        raise OptionError(
            f"elevation-deg: expected 1 or {len(azimuths)} values, got {len(elevations)}.",
            hint="Give one elevation for each azimuth, or one for all.",
        )
    from .pipeline.convert import synthesise_views
    from .pipeline.model_cache import ModelCache

    with _progress() as on_event:
        return synthesise_views(
            options.image.absolute(),
            options.output.absolute(),
            azimuths,
            elevations,
            models=ModelCache(needs_reconstruction=False),
            preset=options.preset,
            seed=options.seed,
            device=options.device,
            sampler=options.sampler,
            num_inference_steps=options.num_inference_steps,
            guidance_scale=options.guidance_scale,
            on_event=on_event,
        )


def _import_checkpoint(options: argparse.Namespace) -> JobResult:
    from .pipeline.import_checkpoint import import_checkpoint

    _quiet_library_bars()
    return import_checkpoint(options.source, options.output, options.config)


@contextmanager
def _progress() -> Iterator[OnEvent]:
    """What the pipeline reports, on stderr: a bar for a person, a line per stage for a file."""
    from .contracts.progress import STAGES, PipelineEvent, StageStarted, StepDone, WarningRaised

    def number(stage: str) -> str:
        return f"[{STAGES.index(stage) + 1}/{len(STAGES)}] {stage}"

    _quiet_library_bars()
    with ExitStack() as stack:
        bar = None
        if sys.stderr.isatty():
            from tqdm import tqdm

            bar = stack.enter_context(
                tqdm(total=len(STAGES), bar_format="{desc:25s}{percentage:3.0f}%|{bar}| {elapsed}")
            )

        def show(stage: str, fraction: float) -> None:
            if bar is not None:
                bar.set_description_str(number(stage), refresh=False)
                bar.n = STAGES.index(stage) + fraction
                bar.refresh()
            elif fraction == 0:
                _say(number(stage))

        def on_event(event: PipelineEvent) -> None:
            match event:
                case StageStarted(stage):
                    show(stage, 0)
                case StepDone(stage, step, steps):
                    show(stage, step / steps)
                case WarningRaised(_, message):
                    if bar is not None:
                        bar.clear()
                    _say(f"warning: {message}")

        yield on_event
        if bar is not None:
            bar.n = len(STAGES)
            bar.refresh()


def _quiet_library_bars() -> None:
    """One bar is enough: diffusers and transformers draw their own while they load weights."""
    import diffusers
    import transformers

    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()


def _number(low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        value = float(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected {low:g} to {high:g}, got {text}")
        return value

    parse.__name__ = "number"
    return parse


def _whole_number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        value = int(text)
        if not low <= value <= high:
            raise argparse.ArgumentTypeError(f"expected {low} to {high}, got {text}")
        return value

    parse.__name__ = "whole number"
    return parse


def _write_traceback(output_dir: Path | None) -> Path:
    """The traceback being handled, beside the results where that is possible."""
    if output_dir and output_dir.is_dir():
        with suppress(OutputError):
            return write_traceback(output_dir.absolute())
    return write_traceback(Path(tempfile.mkdtemp(prefix="one2345-")))


def _say_error(message: str, hint: str) -> None:
    _say(f"error: {message}\nhint: {hint}")


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)
