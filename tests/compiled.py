"""Does what `tests.mirrored` does, with every step compiled by XLA, as on a single GPU.

python -m tests.compiled 1 POLICY EPOCHS BATCH_SIZE METHODS OUTPUT.npz
"""

from deep_net_triage import devices

# isort: split
from tests import mirrored

if __name__ == "__main__":
    devices.compile_with_xla = lambda: True
    mirrored.from_command_line()
