import dataclasses

import numpy as np
import pytest

from deep_net_triage.findings import rivals
from deep_net_triage.findings.statistics import accuracy_difference
from deep_net_triage.records import alternatives, compressions, correctness, results
from deep_net_triage.records.study_results import StudyResults
from tests import compressions as handmade
from tests.compressions import right, rival, smaller


@pytest.fixture
def study(tmp_path):
    return StudyResults("toy", 0.9, parent_correct=right(900), folder=tmp_path)


def names(found):
    return [one.kind for one in found]


def test_the_compressed_network_and_its_alternatives_are_compared_over_all_seeds(study):
    trained = [
        ("pruned", 10, 800, 580),
        ("pruned", 2, 910, 580),
        ("pruned", 0, 900, 580),
        ("scratch", 5, 890, 600),
        ("scratch_taught", 1, 879, 600),
    ]
    handmade.write(study.folder, handmade.compression(), trained, failed="narrow")
    alternatives.write_refusals(study.folder, {"left_out": "block2 changes the shape"})
    found = rivals.read(study)
    compressed = found.compressed
    assert list(compressed.correct) == [0, 1, 2]
    assert compressed.accuracy == pytest.approx(0.889)
    assert compressed.from_parent == accuracy_difference(
        [right(891), right(889), right(887)], right(900)
    )
    assert compressed.runs == 3  # two steps and the final retraining
    assert names(found.alternatives) == ["scratch", "scratch_taught", "pruned"]
    scratch, taught, pruned = found.alternatives
    assert scratch.from_compressed.mean == pytest.approx(0.001)
    assert list(pruned.correct) == [0, 2, 10]
    assert pruned.accuracy == pytest.approx((0.8 + 0.91 + 0.9) / 3)
    assert pruned.from_compressed.mean == pytest.approx(0.87 - 0.889)
    assert (pruned.macs, pruned.parameters, pruned.runs) == (580, 250, 1)
    assert taught.from_compressed.mean == pytest.approx(-0.01)
    # The seeds of the compressed network hardly differ, so that images alone decide.
    alone = accuracy_difference([right(879)], right(889))
    assert taught.from_compressed.low == pytest.approx(alone.low, abs=1e-3)
    assert found.refused == {"blocks left out": "block2 changes the shape"}
    assert found.failed == {"narrow-seed0": "loss is no longer finite"}


def test_where_the_final_retraining_gained_nothing_the_last_kept_step_is_compared(study):
    finals = tuple(
        dataclasses.replace(final, judged_accuracy=0.89)
        for final in handmade.compression().finals
    )
    handmade.write(study.folder, handmade.compression(finals=finals, accuracy=0.884))
    compressed = rivals.read(study).compressed
    assert list(compressed.correct) == [7]  # the seed of the step's trial
    assert compressed.accuracy == 0.884
    assert compressed.from_parent == accuracy_difference([right(884)], right(900))
    assert compressed.runs == 2


def test_nothing_is_read_without_a_compression_and_nothing_of_damaged_files(study):
    assert rivals.read(study) is None
    assert rivals.read(StudyResults("toy", 0.9)) is None
    record = handmade.compression()
    handmade.write(study.folder, record, [("pruned", 0, 900, 600)])
    for damaged in ("compressed/final-seed1", "alternatives/pruned-seed0"):
        # It can be read; only its digest tells.
        correctness.write(study.folder / damaged / "correct.npy", right(999))
    found = rivals.read(study)
    assert list(found.compressed.correct) == [0, 2]
    assert found.alternatives == ()
    failed = study.folder / "compressed" / "final-seed0"
    results.write_result(failed, results.Failure({"seed": 0}, "made again, and failed"))
    assert list(rivals.read(study).compressed.correct) == [2]
    result = study.folder / "compressed" / "result.json"
    result.write_text(result.read_text().replace("0.891", "0.991"))
    assert rivals.read(study) is None


def test_files_of_another_search_are_not_taken_for_the_recorded_network(study):
    record = handmade.compression()
    handmade.write(study.folder, record)
    # Trained again: another accuracy, or as accurate by another network.
    handmade.write_network(study.folder / "compressed" / "final-seed0", 880, 0, record.macs)
    handmade.write_network(study.folder / "compressed" / "final-seed2", 887, 2, 500)
    assert list(rivals.read(study).compressed.correct) == [1]
    compressions.write(study.folder, dataclasses.replace(record, finals=(), accuracy=0.884))
    assert list(rivals.read(study).compressed.correct) == [7]
    steps = (*record.steps[:2], dataclasses.replace(record.steps[2], macs=599))
    another = dataclasses.replace(record, steps=steps, finals=(), accuracy=0.884)
    compressions.write(study.folder, another)
    assert list(rivals.read(study).compressed.correct) == []


def test_failed_halves_and_final_retrainings_are_named(study):
    record = handmade.compression()
    handmade.write(study.folder, record)
    failure = results.Failure({"seed": 3}, "loss is no longer finite")
    for name in ("final-of-1-3-seed3", "final-of-1-2-seed0", "half-stn-block1_last"):
        folder = study.folder / "compressed" / name
        folder.mkdir()
        results.write_result(folder, failure)
    # Steps 1 and 3 were kept; the retraining of 1 and 2 is of another network.
    expected = dict.fromkeys(("half-stn-block1_last", "final-of-1-3-seed3"), failure.reason)
    assert rivals.read(study).failed == expected
    undone = handmade.undone()
    compressions.write(study.folder, undone)
    assert rivals.read(study).failed == {"half-stn-block1_last": failure.reason}


def test_the_result_of_an_earlier_version_is_none(study):
    (study.folder / "compressed").mkdir()
    file = study.folder / "compressed" / "result.json"
    compressions.files.write_json(file, {"accuracy": 0.5, "steps": []})
    assert compressions.read(study.folder) is None


def test_alternatives_are_better_worse_or_level_by_their_whole_interval():
    found = smaller(
        rival("scratch", -3.0, -4.0, -2.0),
        rival("scratch_taught", 0.1, 0.0, 0.2),
        rival("left_out", 0.5, 0.1, 0.9),
        rival("narrow", 1.0, 0.5, 1.5),
        rival("pruned", -0.5, -0.9, -0.1),
        rival("pruned", 9.0, 8.0, 9.5, from_compressed=None),
        rival("left_out", 9.0, 8.0, 9.5, macs=610),  # 1 % of the parent's more
        rival("left_out", 0.4, 0.1, 0.7, macs=609),
    )
    assert [(one.kind, one.macs) for one in found.standing.better] == [
        ("narrow", 600),
        ("left_out", 600),
        ("left_out", 609),
    ]
    assert [one.macs for one in found.standing.costlier] == [610]
    assert names(found.standing.level) == ["scratch_taught"]
    assert names(found.standing.worse) == ["pruned", "scratch"]


def test_a_level_network_that_another_beats_is_not_taken_though_it_needs_less():
    """Both are level with the compressed network, but 20 images apart from each other."""
    found = smaller(
        rival("scratch", 0.5, -0.8, 1.8, correct={0: np.roll(right(895), 300)}),
        rival("pruned", -1.5, -3.2, 0.2, correct={0: np.roll(right(875), 300)}, macs=300),
    )
    assert names(found.standing.level) == ["scratch", "pruned"]
    assert names(found.standing.unbeaten) == [None, "scratch"]
    assert found.standing.to_take.kind == "scratch"  # as cheap, and fewer trainings


@pytest.mark.parametrize(
    ("compressed", "alternative", "cheapest"),
    [
        (590, 600, None),  # the difference is 1 % of the parent's
        (600, 609, "pruned"),  # less than 1 % counts as none, and one training is fewer
        (600, 400, "pruned"),
    ],
)
def test_the_cheapest_takes_the_fewest_macs_then_the_fewest_trainings(
    compressed, alternative, cheapest
):
    network = handmade.compressed(macs=compressed)
    pruned = rival("pruned", 0.0, -1.0, 1.0, macs=alternative)
    chosen = smaller(pruned, network=network).cheapest([network, pruned])
    assert chosen.kind == cheapest
