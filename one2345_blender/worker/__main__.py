# SPDX-License-Identifier: GPL-3.0-or-later
"""Claims the standard streams, then serves jobs until the wire closes."""

from __future__ import annotations

import os
import sys

from .server import Server
from .wire import claim_standard_streams


def main() -> int:
    """Serve; the exit status is 0 after `shutdown` or end of file on stdin."""
    if "bpy" in sys.modules:
        sys.exit("The worker must not run inside Blender: bpy is loaded.")
    os.umask(0o077)  # photos and results are their user's alone
    Server(claim_standard_streams()).serve()
    return 0


if __name__ == "__main__":
    sys.exit(main())
