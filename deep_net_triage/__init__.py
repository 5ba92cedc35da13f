"""Deep Net Triage: which blocks of a convolutional network matter.

One block of convolutions at a time is replaced by a single Conv2D + BatchNormalization,
retrained by one of six methods, and compared with the network it came from; after "Deep Net
Triage: Assessing the Criticality of Network Layers by Structural Compression".
"""

import importlib

from deep_net_triage import devices

# Here, because TensorFlow reads these when it is imported, whoever imports it.
devices.prepare_environment()

__all__ = ["compress", "find_blocks", "triage"]


def __getattr__(name: str) -> object:
    """Imports what the library offers when it is first asked for: TensorFlow takes seconds."""
    if name in __all__:
        return getattr(importlib.import_module("deep_net_triage.api"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
