"""Deep Net Triage: which blocks of a convolutional network matter.

One block of convolutions at a time is replaced by a single Conv2D + BatchNormalization,
retrained by one of seven methods, and compared with the network it came from; after "Deep Net
Triage: Assessing the Criticality of Network Layers by Structural Compression".
"""

import importlib
from typing import TYPE_CHECKING

from deep_net_triage import devices
from deep_net_triage.commands.options import CompressOptions, Options
from deep_net_triage.errors import InputError

# Here, because TensorFlow reads these when it is imported, whoever imports it.
devices.prepare_environment()

__all__ = [
    "CompressOptions",
    "Compressed",
    "InputError",
    "Options",
    "compress_within",
    "find_blocks",
    "replace_block",
    "triage",
]

if TYPE_CHECKING:
    from deep_net_triage.api import (
        Compressed,
        compress_within,
        find_blocks,
        replace_block,
        triage,
    )
else:  # A type checker that saw this would accept any name.

    def __getattr__(name: str) -> object:
        """Imports what the library offers when it is first used: TensorFlow takes seconds."""
        if name in __all__:
            return getattr(importlib.import_module("deep_net_triage.api"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    """Returns the public names, those that are not imported yet included."""
    return __all__
