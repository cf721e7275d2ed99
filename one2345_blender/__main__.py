# SPDX-License-Identifier: GPL-3.0-or-later
"""`python -m one2345_blender`."""

import sys

from .cli import main

sys.exit(main())
