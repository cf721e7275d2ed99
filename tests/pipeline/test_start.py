# SPDX-License-Identifier: GPL-3.0-or-later
"""A reconstruction begins without what takes seconds to load and is not used."""

from __future__ import annotations

import subprocess
import sys

SCRIPT = """
import sys
import one2345_blender.pipeline.reconstruct_folder
loaded = [name for name in ("torch._dynamo", "torch._inductor", "sympy") if name in sys.modules]
assert not loaded, loaded
assert "diffusers.models.unets" not in sys.modules
import torch._dynamo
assert torch.compiler.is_compiling() is False and torch._dynamo.is_compiling() is False
"""


def test_reconstruct_starts_without_the_compiler_which_stays_usable() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True)
