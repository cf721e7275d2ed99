# SPDX-License-Identifier: GPL-3.0-or-later
"""diffusers without PyTorch's compiler, which takes longer to load than the rest together.

diffusers asks for one decorator of it, for models that are compiled, and does without where there
is no such module. Ours are not compiled. Who asks for the compiler later gets it.
"""

import sys
from importlib import import_module

_COMPILER = "torch._dynamo"

if _COMPILER not in sys.modules:
    import_module("torch")
    sys.modules[_COMPILER] = None  # type: ignore[assignment]  # how Python marks what is not there
    try:
        import_module("diffusers.utils.torch_utils")
    finally:
        del sys.modules[_COMPILER]

from diffusers.configuration_utils import ConfigMixin, register_to_config  # noqa: E402 - after the above
from diffusers.models.modeling_utils import ModelMixin  # noqa: E402 - after the above

__all__ = ["ConfigMixin", "ModelMixin", "register_to_config"]
