#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build the Python environment of the worker and of the command line in a given folder.

Stand-alone: Python 3.11 or newer, standard library only. The packages are those of `pyproject.toml`
beside this file. The environment is usable when its file `.complete` is there. `--json` speaks the
worker's event format with the job id "install" (docs/worker_protocol.md): `stage`, `progress`, then
exactly one of `result`, `cancelled`, `error`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import signal
import subprocess
import sys
import tomllib
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

STAGES = ("create_environment", "install_torch", "install_packages", "verify")
EXTRAS = ("pipeline", "train", "dev")
DEVICES = ("auto", "cpu", "cuda")
TORCH_INDEX = "https://download.pytorch.org/whl"
WINDOWS_CUDA_BUILD = "cu130"
COMPLETE, UNFINISHED, LOG = ".complete", ".unfinished", "install.log"

Event = dict[str, Any]
Emit = Callable[[Event], None]


class InstallError(Exception):
    """An expected failure: a stable `code`, a message for people, a `hint` that says what to do."""

    def __init__(self, code: str, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What is to be installed where."""

    target: Path
    python: str
    python_version: str
    device: str
    requirements: tuple[str, ...]
    torch: str | None  # the requirement, its build fixed; None when no extra needs torch
    torch_index: str | None  # to ask when pip's own configuration does not offer that build

    @property
    def contents(self) -> dict[str, Any]:
        """What `.complete` records."""
        return {
            "python": self.python_version,
            "device": self.device if self.torch else None,
            "requirements": sorted(self.requirements),
        }

    def is_satisfied(self) -> bool:
        """The environment is complete and holds at least what is asked for."""
        try:
            found = json.loads((self.target / COMPLETE).read_text(encoding="utf-8"))
            return (
                environment_python(self.target).is_file()
                and found["python"] == self.python_version
                and (self.torch is None or found["device"] == self.device)
                and set(self.requirements) <= set(found["requirements"])
            )
        except (OSError, ValueError, KeyError, TypeError):
            return False


def environment_python(target: Path) -> Path:
    """The interpreter of the environment in `target`."""
    return target / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def read_requirements(project_file: Path, extras: Sequence[str]) -> tuple[str, ...]:
    """The requirements of the project's `extras`, each once."""
    try:
        project = tomllib.loads(project_file.read_text(encoding="utf-8"))["project"]
        lists = [project["dependencies"], *(project["optional-dependencies"][e] for e in extras)]
    except (OSError, ValueError, KeyError) as error:
        raise InstallError(
            "environment_missing",
            f"Expected the package lists in {project_file}, got {error!r}.",
            hint="Take vendor_install.py and pyproject.toml from the same release.",
        ) from error
    return tuple(dict.fromkeys(requirement for part in lists for requirement in part))


def resolve_device(device: str) -> str:
    """`auto` becomes `cuda` where an NVIDIA GPU answers, else `cpu` (which has MPS on macOS)."""
    if device != "auto":
        return device
    try:
        gpus = subprocess.check_output(["nvidia-smi", "-L"], text=True, timeout=20)
    except (OSError, subprocess.SubprocessError):
        return "cpu"
    return "cuda" if "GPU 0" in gpus else "cpu"


def torch_build(requirement: str, device: str, system: str) -> tuple[str, str | None]:
    """The requirement with its build fixed, and the index that offers it (None: the default one).

    A build label such as `+cpu` never matches the CUDA build that bears the plain version.
    """
    if device == "cpu" and system != "Darwin":
        return f"{requirement}+cpu", f"{TORCH_INDEX}/cpu"
    if device == "cuda" and system == "Windows":
        return f"{requirement}+{WINDOWS_CUDA_BUILD}", f"{TORCH_INDEX}/{WINDOWS_CUDA_BUILD}"
    return requirement, None


def make_plan(target: Path, extras: Sequence[str], device: str, python: str) -> Plan:
    """Resolve the device, the interpreter and the requirements."""
    requirements = read_requirements(Path(__file__).with_name("pyproject.toml"), extras)
    plain = next((r for r in requirements if r.startswith("torch==")), None)
    device = resolve_device(device)
    build, index = torch_build(plain, device, platform.system()) if plain else (None, None)
    return Plan(
        target=target,
        python=python,
        python_version=interpreter_version(python),
        device=device,
        requirements=requirements,
        torch=build,
        torch_index=index,
    )


def interpreter_version(python: str) -> str:
    """`major.minor.micro` of an interpreter; an error if it does not run or is too old."""
    code = "import sys; print('%d.%d.%d' % sys.version_info[:3])"
    try:
        command = [python, "-I", "-c", code]
        version = subprocess.check_output(command, text=True, timeout=60).strip()
        found = tuple(map(int, version.split(".")))
    except (OSError, ValueError, subprocess.SubprocessError) as error:
        raise InstallError(
            "option",
            f"Expected --python to be a Python interpreter, but {python} did not run: {error}.",
            hint="Give the full path of a Python 3.11 or newer.",
        ) from error
    if found < (3, 11):
        raise InstallError(
            "option",
            f"Expected Python 3.11 or newer, got {version} ({python}).",
            hint="Install Python 3.11 and name it with --python.",
        )
    return version


class Installer:
    """Carries out a plan, stage by stage; every step is reported through `emit`."""

    def __init__(self, plan: Plan, emit: Emit) -> None:
        self.plan, self.target, self.emit = plan, plan.target, emit
        self.stage = STAGES[0]
        self.tail: deque[str] = deque(maxlen=15)

    def install(self) -> None:
        """Make the environment; `.complete` appears only at the very end.

        After a failure the next run goes on; after an interruption, which may have left a package
        half written, it starts over.
        """
        (self.target / COMPLETE).unlink(missing_ok=True)
        self._stage("create_environment")
        self._create_environment()
        (self.target / UNFINISHED).touch()
        try:
            self._install_packages()
        except InstallError:
            (self.target / UNFINISHED).unlink()
            raise
        (self.target / UNFINISHED).unlink()
        temporary = self.target / f"{COMPLETE}.part"
        temporary.write_text(json.dumps(self.plan.contents, indent=1), encoding="utf-8")
        temporary.replace(self.target / COMPLETE)

    def _install_packages(self) -> None:
        self._stage("install_torch")
        if self.plan.torch:
            self._install_torch(self.plan.torch)
        self._stage("install_packages")
        if self._pip(self.plan.requirements) != 0:
            self._fail("The packages could not be installed.")
        self._stage("verify")
        self._verify()

    def _create_environment(self) -> None:
        """Keep a sound environment of the same Python; replace an interrupted or another one."""
        if self.target.exists():
            if not (self.target / UNFINISHED).exists() and self._has_same_python():
                return
            remove_environment(self.target)
        self.target.mkdir(parents=True)
        (self.target / UNFINISHED).touch()
        if self._run([self.plan.python, "-m", "venv", str(self.target)]) != 0:
            self._fail(
                "The virtual environment could not be made.",
                hint="On Debian and Ubuntu install the package python3-venv.",
            )

    def _has_same_python(self) -> bool:
        try:
            python = str(environment_python(self.target))
            return interpreter_version(python) == self.plan.python_version
        except InstallError:
            return False

    def _install_torch(self, requirement: str) -> None:
        """First as pip is configured on this machine, then with PyTorch's own index."""
        if self._pip([requirement]) == 0:
            return
        index = self.plan.torch_index
        if index is None or self._pip([requirement], "--extra-index-url", index) != 0:
            self._fail(f"{requirement} could not be installed.")

    def _pip(self, requirements: Sequence[str], *options: str) -> int:
        """Run pip in the environment, counting the requirements it takes up; its exit status."""
        waiting = {re.split(r"[=<>;\[ ]", r, maxsplit=1)[0].lower() for r in requirements}
        steps = len(waiting)

        def count(line: str) -> None:
            taken = re.match(r"(?:Collecting|Requirement already satisfied:) ([\w.-]+)", line)
            if taken and (name := taken[1].lower().replace("_", "-")) in waiting:
                waiting.remove(name)
                counts = {"step": steps - len(waiting), "steps": steps}
                self.emit({"type": "progress", "stage": self.stage, **counts})

        pip = [str(environment_python(self.target)), "-I", "-m", "pip", "install", *options]
        quiet = ["--no-input", "--disable-pip-version-check", "--progress-bar", "off"]
        return self._run([*pip, *quiet, "--no-compile", *requirements], count)

    def _verify(self) -> None:
        """The build of torch that was asked for is the one that loads."""
        if self.plan.torch is None:
            return
        code = "import torch; print('torch', torch.__version__, 'CUDA', torch.version.cuda)"
        command = [str(environment_python(self.target)), "-I", "-c", code]
        builds: list[str] = []
        if self._run(command, builds.append) != 0:
            self._fail("PyTorch was installed but does not load.")
        build = next(line.rstrip() for line in builds if line.startswith("torch "))
        if build.endswith("CUDA None") != (self.plan.device == "cpu"):
            self._fail(
                f"Expected PyTorch's {self.plan.device} build, got {build}.",
                hint="Name the build with --device cpu or --device cuda.",
            )

    def _run(self, command: Sequence[str], on_line: Callable[[str], None] | None = None) -> int:
        """Run a command to its end, its output in the log; ended with us if we are ended."""
        environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTHON")}
        with (
            (self.target / LOG).open("a", encoding="utf-8") as log,
            subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                env=environment | {"PYTHONUTF8": "1"},
                text=True,
                encoding="utf-8",
                errors="replace",
            ) as process,
        ):
            try:
                log.write(f"$ {' '.join(command)}\n")
                for line in process.stdout or ():
                    log.write(line)
                    self.tail.append(line.rstrip())
                    if on_line:
                        on_line(line)
                return process.wait()
            except BaseException:
                process.terminate()
                raise

    def _stage(self, name: str) -> None:
        self.stage, index = name, STAGES.index(name)
        self.emit({"type": "stage", "name": name, "index": index, "count": len(STAGES)})

    def _fail(self, message: str, *, hint: str = "") -> NoReturn:
        raise InstallError(
            "environment_missing",
            f"{message} The last lines of pip:\n" + "\n".join(self.tail),
            hint=hint or f"See {self.target / LOG}; check the connection and run the same again.",
        )


def remove_environment(target: Path) -> None:
    """Delete an environment; an error if the folder holds anything else."""
    if not target.exists():
        return
    is_empty = target.is_dir() and not any(target.iterdir())
    if not is_empty and not any((target / name).exists() for name in ("pyvenv.cfg", UNFINISHED)):
        raise InstallError(
            "option",
            f"Expected a virtual environment or a free path, but {target} holds something else.",
            hint="Choose another --target.",
        )
    (target / COMPLETE).unlink(missing_ok=True)
    shutil.rmtree(target)


def emit_json(event: Event) -> None:
    """One event as one line of JSON."""
    print(json.dumps({"type": event["type"], "job_id": "install", **event}), flush=True)


def emit_text(event: Event) -> None:
    """One event as a line for people, steps left out; failures go to stderr."""
    match event["type"]:
        case "stage":
            print(f"[{event['index'] + 1}/{event['count']}] {event['name']}", flush=True)
        case "result":
            report = event["report"]
            print(f"{report['status']}: {report['target']}")
            if report["status"] == "planned":
                print(json.dumps(report, indent=1))
        case "cancelled":
            print("cancelled: the next run starts over", file=sys.stderr)
        case "error":
            print(f"error: {event['message']}\nhint: {event['hint']}", file=sys.stderr)


def parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line; `extras` becomes a list of known names."""
    parser = argparse.ArgumentParser(prog="vendor_install.py", description=__doc__.split("\n")[0])
    parser.add_argument("--target", type=Path, required=True, metavar="DIR", help="the folder")
    parser.add_argument(
        "--extras",
        default="pipeline",
        type=lambda text: text.split(","),
        metavar="NAMES",
        help=f"comma-separated, of {', '.join(EXTRAS)} (default: pipeline)",
    )
    parser.add_argument("--device", choices=DEVICES, default="auto", help="build of PyTorch")
    parser.add_argument("--python", default=sys.executable, metavar="EXE", help="base interpreter")
    parser.add_argument("--json", action="store_true", help="events as JSON lines on stdout")
    parser.add_argument("--dry-run", action="store_true", help="say what would be installed")
    parser.add_argument("--remove", action="store_true", help="delete the environment")
    options = parser.parse_args(arguments)
    options.target = options.target.expanduser().absolute()
    if unknown := set(options.extras) - set(EXTRAS):
        parser.error(f"--extras: expected names of {', '.join(EXTRAS)}, got {sorted(unknown)}")
    return options


def carry_out(options: argparse.Namespace, emit: Emit) -> Event:
    """Do what the options ask; the last event."""
    report: dict[str, Any] = {"target": str(options.target), "status": "removed"}
    if options.remove:
        remove_environment(options.target)
        return {"type": "result", "files": {}, "report": report}
    plan = make_plan(options.target, options.extras, options.device, options.python)
    status = "complete" if plan.is_satisfied() else "planned" if options.dry_run else "installed"
    if status == "installed":
        Installer(plan, emit).install()
    report |= {"status": status, "torch": plan.torch, **plan.contents}
    files = {"python": str(environment_python(options.target))}
    return {"type": "result", "files": files, "report": report}


def main(arguments: Sequence[str] | None = None) -> int:
    """Exit status: 0 done, 1 failed, 2 wrong use, 130 cancelled."""
    options = parse_arguments(sys.argv[1:] if arguments is None else arguments)
    emit = emit_json if options.json else emit_text
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        emit(carry_out(options, emit))
        return 0
    except KeyboardInterrupt:
        emit({"type": "cancelled"})
        return 130
    except InstallError as error:
        failure = error
    except OSError as error:
        hint = "Check free space and permissions of the target folder."
        failure = InstallError("output", f"Could not write: {error}.", hint=hint)
    log = options.target / LOG
    event = {"type": "error", "code": failure.code, "message": str(failure), "hint": failure.hint}
    emit({**event, "detail_path": str(log) if log.exists() else None})
    return 2 if failure.code == "option" else 1


if __name__ == "__main__":
    sys.exit(main())
