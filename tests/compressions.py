"""Compressions and alternatives that tests make up by hand."""

import dataclasses

import numpy as np

from deep_net_triage.findings.rivals import Rival, Smaller
from deep_net_triage.findings.statistics import Estimate
from deep_net_triage.records import alternatives, compressions, correctness, results
from deep_net_triage.records.compressions import Compression, Considered, Final, Step
from deep_net_triage.records.results import Failure, NetworkResult, TrialResult
from tests.handmade import row

IMAGES = 1000


def estimate(mean, low, high):
    """An estimate in points."""
    return Estimate(mean / 100, low / 100, high / 100, 3, 9.0)


def compression(**fields):
    """Two of three steps were kept, and the final retraining with three seeds as well.

    The parent is right about 900 of 1000 test images. Of its 1000 multiply-accumulates and 400
    parameters the steps leave 800 and 600, 360 and 300.
    """
    values = {
        "save": "macs",
        "max_drop": 0.02,
        "held_out": 5000,
        "baseline_judged": 0.91,
        "baseline_accuracy": 0.9,
        "candidates": (
            Considered("block2", "stn", 0.002, 0.2, -0.011, 0.015),
            Considered("block3", "cm_rw", 0.011, 0.2, -0.002, 0.024),
            Considered("block4_last", "stn", -0.001, 0.3, -0.013, 0.011),
            Considered("block1", "stn", 0.08, 0.1, 0.05, 0.11),
            Considered("block4", "stn", 0.02, -0.1, 0.007, 0.033),
            Considered("block2_first", "stn", 0.01, 0.1, -0.003, 0.023),
        ),
        "steps": (
            Step("block2", "stn", True, 0.905, 0.893, 360, 800),
            Step("block4_last", "stn", False, 0.88, 0.871, 330, 500),
            Step("block3", "cm_rw", True, 0.895, 0.884, 300, 600),
        ),
        "finals": (
            Final(0, "final-seed0", 0.9, 0.891),
            Final(1, "final-seed1", 0.897, 0.889),
            Final(2, "final-seed2", 0.898, 0.887),
        ),
        "accuracy": 0.891,
        "epochs": 30,
        "parent_parameters": 400,
        "parent_macs": 1000,
        "parameters": 300,
        "macs": 600,
    }
    return Compression(**values | fields)


def undone():
    """A compression whose steps were all undone."""
    steps = tuple(dataclasses.replace(step, kept=False) for step in compression().steps)
    nothing = {"finals": (), "accuracy": None, "epochs": 0, "parameters": 400, "macs": 1000}
    return compression(steps=steps, **nothing)


def compressed(**fields):
    values = {
        "kind": None,
        "correct": {seed: right(890) for seed in (0, 1, 2)},
        "accuracy": 0.889,
        "macs": 600,
        "parameters": 300,
        "runs": 3,
        "from_parent": estimate(-1.1, -1.8, -0.4),
    }
    return Rival(**values | fields)


def rival(kind, mean, low, high, **fields):
    """An alternative with its difference from the compressed network, in points."""
    values = {
        "correct": {seed: right(round(890 + 10 * mean)) for seed in (0, 1, 2)},
        "accuracy": 0.889 + mean / 100,
        "macs": 600,
        "parameters": 300,
        "runs": 1,
        "from_parent": estimate(mean - 1.1, low - 1.1, high - 1.1),
        "from_compressed": estimate(mean, low, high),
    }
    return Rival(kind, **values | fields)


def smaller(*rivals, network=None, of=None, **fields):
    return Smaller(of or compression(), network or compressed(), rivals, **fields)


def right(count):
    """Which of the test images a network gets right that is right about the first ones."""
    return np.arange(IMAGES) < count


def write_network(folder, count, seed, macs, **settings):
    """Writes what a network leaves that was trained as a whole."""
    correctness.write(folder / results.CORRECT, right(count))
    reached = {"accuracy": count / IMAGES, "judged_accuracy": 0.5, "epochs": 30}
    costs = {"parameters": 250, "macs": macs, "seconds": 1.0, "files": results.digests(folder)}
    result = NetworkResult(settings={"seed": seed, **settings}, **reached, **costs)
    results.write_result(folder, result)


def write(study, record, trained=(), failed=None):
    """Writes a compression and its alternatives as a study does.

    Args:
        study: its folder.
        record: the compression.
        trained: kind, seed, number of test images that are classified correctly, and
            multiply-accumulates of each alternative.
        failed: a kind of which seed 0 failed.
    """
    compressions.write(study, record)
    for number, step in enumerate(record.steps, start=1):
        folder = compressions.step_folder(study, number, step.method, step.block)
        folder.mkdir(parents=True)
        trial = row(step.method, step.block, step.accuracy, seed=7, macs=step.macs)
        correctness.write(folder / results.CORRECT, right(round(IMAGES * step.accuracy)))
        results.write_result(folder, TrialResult({}, trial, results.digests(folder)))
    for final in record.finals:
        folder = study / compressions.FOLDER / final.folder
        folder.mkdir()
        write_network(folder, round(IMAGES * final.accuracy), final.seed, record.macs)
    (study / alternatives.FOLDER).mkdir()
    for kind, seed, count, macs in trained:
        folder = alternatives.folder_of(study, kind, seed)
        folder.mkdir()
        write_network(folder, count, seed, macs)
    if failed:
        folder = alternatives.folder_of(study, failed, 0)
        folder.mkdir()
        results.write_result(folder, Failure({"seed": 0}, "loss is no longer finite"))
