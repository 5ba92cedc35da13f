"""(e): a whole study compared with a plain script with stock Keras and equal epochs.

python -m benchmarks.study [--width=1] [--train=512] [--test=128] [--epochs=3] [--rounds=2]
    [--defaults]

Both are given the same parent. The methods that update only the compressed block are timed
apart from those that update the whole model; the study's time is the sum.
"""

import argparse
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks import side_by_side
from benchmarks.side_by_side import contestant

HALVES = {"layer-only half": "cl_rw,cl_mw,stn", "whole-model half": "cm_rw,cm_mw,stn_cm"}
GOALS = {"oneDNN": ("1.2", "1.5"), "defaults": ("2.8", "3.5")}


def main() -> None:
    """Prints the ratios."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--train", type=int, default=512)
    parser.add_argument("--test", type=int, default=128)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--defaults", action="store_true", help="also without oneDNN")
    options = parser.parse_args()
    print(side_by_side.machine(), vars(options))
    here = {name: getattr(options, name) for name in ("width", "train", "test", "epochs")}
    against = {"oneDNN": "1"} | ({"defaults": "0"} if options.defaults else {})
    seconds: dict[str, list[float]] = {}
    for half, methods in HALVES.items():
        print(half, flush=True)
        plain = "benchmarks.study:plain"
        found = side_by_side.compare(
            [contestant("ours", "benchmarks.study:ours", methods=methods, **here)]
            + [
                contestant(title, plain, onednn=switch, methods=methods, **here)
                for title, switch in against.items()
            ],
            options.rounds,
            warm=False,
        )
        for title, value in found.items():
            seconds.setdefault(title, []).append(value)
    for title in against:
        whole, half = GOALS[title]
        other, own = seconds[title], seconds["ours"]
        side_by_side.report(f"study, plain script with {title}", sum(other) / sum(own), whole)
        side_by_side.report(f"layer-only half, {title}", other[0] / own[0], half)
        side_by_side.report(f"whole-model half, {title}", other[1] / own[1], "-")


def ours(methods: str, width: float, train: int, test: int, epochs: int) -> Callable[[], None]:
    """Returns a run of the command line with a given parent."""
    import run_triage

    folder = Path(tempfile.mkdtemp())
    parent = folder / "parent.keras"
    _parent(width).save(parent)
    arguments = [
        "--recipe=paper",
        "--precision=float32",
        "--nocontrol",
        "--parallel_trials=1",
        f"--parent={parent}",
        f"--method={methods}",
        f"--train_examples={train}",
        f"--test_examples={test}",
        f"--epochs={epochs}",
        f"--distill_epochs={epochs}",
        "--batch_size=64",
        "--nosave_models",
    ]

    def run() -> None:
        output = folder / "runs"
        shutil.rmtree(output, ignore_errors=True)
        if run_triage.main([*arguments, f"--output_dir={output}"]) != 0:
            raise RuntimeError("the study failed")

    return run


def plain(methods: str, width: float, train: int, test: int, epochs: int) -> Callable[[], None]:
    """Returns a run of the plain script on the same images."""
    from benchmarks import plain_script
    from deep_net_triage.images import datasets

    digits = datasets.load("digits", image_size=32, train_examples=train, test_examples=test)
    splits = ((digits.train.images, digits.train.labels),
              (digits.test.images, digits.test.labels))  # fmt: skip
    parent = _parent(width)

    def run() -> None:
        plain_script.run(parent, *splits, methods.split(","), epochs, epochs, batch=64)

    return run


def _parent(width: float):  # noqa: ANN202, see networks.py
    from deep_net_triage.network import vgg16

    return vgg16.VGG16(
        input_shape=(8, 8, 1),
        classes=10,
        image_size=32,
        mean=[5.0] * 3,
        deviation=[6.0] * 3,
        width=width,
    ).build()


if __name__ == "__main__":
    main()
