"""Does what `tests.mirrored` does on one replica, twice: as it is, and compiled by XLA.

python -m tests.compiled FLAGS POLICY EPOCHS BATCH_SIZE METHODS OUTPUT

FLAGS are separated by spaces. It is a process of its own because a dtype policy is global.
"""

import sys
from pathlib import Path

from deep_net_triage import devices

# isort: split
from deep_net_triage.learning.learner import Learner
from tests import mirrored


def main(flags, policy, epochs, batch_size, methods, output):
    """Writes `plain.npz` and `xla.npz` into the output folder."""
    compile_as_usual = Learner.compile
    for name in ("plain", "xla"):
        compiled = []

        def compile_and_note(learner, compiled=compiled, **arguments):
            compile_as_usual(learner, **arguments)
            compiled.append(learner.jit_compile)  # Keras may decline, with a warning

        Learner.compile = compile_and_note
        devices.compile_with_xla = lambda name=name: name == "xla"
        mirrored.main(1, policy, epochs, batch_size, methods, output / f"{name}.npz", flags)
        assert set(compiled) == {name == "xla"}


if __name__ == "__main__":
    _, given, dtype, count, size, names, folder = sys.argv
    main(given.split(), dtype, int(count), int(size), names.split(","), Path(folder))
