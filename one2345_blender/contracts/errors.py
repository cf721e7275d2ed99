# SPDX-License-Identifier: GPL-3.0-or-later
"""Every error a user can meet: a message for people, a hint that says what to do, a stable code."""

from __future__ import annotations

import reprlib

_SHORT = reprlib.Repr()
_SHORT.maxstring = _SHORT.maxother = _SHORT.maxlong = 200


def shown(value: object) -> str:
    """A value that somebody sent, for a message: cut in the middle where it is long."""
    return _SHORT.repr(value)


class One2345Error(Exception):
    """Base of all expected errors.

    Args:
        message: What was expected and what came, in one or two sentences.
        hint: What the user can do about it.
    """

    code = "error"

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint


class OptionError(One2345Error):
    """An option is unknown, out of range or contradicts another."""

    code = "option"


class InputImageError(One2345Error):
    """The picture cannot be read, or not within reason."""

    code = "input_image"


class ForegroundError(One2345Error):
    """No object was found in the picture, or nothing but object."""

    code = "foreground"


class EmptySurfaceError(One2345Error):
    """The signed distance field has no zero level set inside the volume."""

    code = "empty_surface"


class PosedImagesError(One2345Error):
    """A folder of posed images (`transforms.json`) is incomplete or inconsistent."""

    code = "posed_images"


class CheckpointError(One2345Error):
    """Weights are missing, incomplete, of the wrong shape, or not safe to read."""

    code = "checkpoint"


class OutputError(One2345Error):
    """A result cannot be written where it was asked for."""

    code = "output"


class DeviceError(One2345Error):
    """The compute device that was asked for is not there."""

    code = "device"


class OutOfMemoryError(One2345Error):
    """The device or the machine ran out of memory."""

    code = "out_of_memory"


class DownloadError(One2345Error):
    """A file could not be had from the network."""

    code = "download"


class OfflineError(One2345Error):
    """The network is needed, and the user has forbidden its use."""

    code = "offline"


class EnvironmentMissingError(One2345Error):
    """There is no Python environment in which the worker could run."""

    code = "environment_missing"


class ProtocolError(One2345Error):
    """The other process said something that the protocol does not allow."""

    code = "protocol"


class WorkerCrashedError(One2345Error):
    """The worker ended without a last word."""

    code = "worker_crashed"


class Cancelled(One2345Error):  # noqa: N818 (an outcome, not a fault)
    """The user cancelled the job; not a failure."""

    code = "cancelled"

    def __init__(self, message: str = "The job was cancelled.", *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
