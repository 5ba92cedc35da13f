"""Trials that may have got stuck, and the places where a user reads of them."""

import dataclasses
import json

import pytest

from deep_net_triage.findings import claims, presentation, rivals, smaller_text, stuck, verdict
from deep_net_triage.records import alternatives, files
from deep_net_triage.records.results import Epoch
from deep_net_triage.records.study_results import StudyResults
from tests import compressions
from tests.handmade import row


def study(*ends, baseline=0.9, classes=10, **options):
    """A study of trials that end at given accuracies on test and on training images."""
    rows = [
        row("cl_rw", f"block{number}", tested, baseline, seed=4)
        for number, (tested, _) in enumerate(ends, start=1)
    ]
    epochs = {
        one.trial: (
            Epoch(phase="train", epoch=1, loss=2.0, accuracy=0.99, seconds=1.0),
            Epoch(phase="train", epoch=2, loss=1.0, accuracy=trained, seconds=1.0),
        )
        for one, (_, trained) in zip(rows, ends, strict=True)
        if trained is not None
    }
    described = {"dataset": "toy", "classes": classes, "settings": {"test_images": 2000}}
    return StudyResults(
        **described, baseline_accuracy=baseline, rows=tuple(rows), epochs=epochs, **options
    )


def test_a_trial_far_below_on_test_and_training_images_is_named():
    # Half way from a tenth to 0.9 is 0.5.
    found = stuck.sentence(study((0.85, 0.95), (0.4, 0.399)))
    assert found == (
        "CL-RW at block2, seed 4 may have got stuck: after its last epoch it classifies 40.0 % "
        "of the test images and 39.9 % of the training images correctly. Another seed or more "
        "epochs may do better."
    )
    both = stuck.sentence(study((0.3, 0.45), (0.4, 0.4)))
    assert both.startswith("2 trials may have got stuck, such as CL-RW at block1, seed 4: ")


@pytest.mark.parametrize(
    "ends",
    [
        (0.4, 0.51),  # it overfits
        (0.51, 0.4),  # strong augmentation makes training images hard
        (0.4, None),  # its file of epochs is damaged
    ],
)
def test_others_are_not_named(ends):
    assert stuck.sentence(study(ends)) is None


def test_a_parent_that_has_not_learned_makes_no_trial_stuck():
    unlearned = study((0.2, 0.2), baseline=0.4)
    assert verdict.reach(unlearned, 0.02).stuck is None
    assert not any("stuck" in one.why for one in claims.judge([unlearned]))
    assert stuck.sentence(study((0.2, 0.2), classes=None)) is None


def test_an_alternative_to_the_compressed_network_is_named_by_the_same_rule(tmp_path):
    of = dataclasses.replace(study(), folder=tmp_path, parent_correct=compressions.right(900))
    record = compressions.compression()
    trained = [("pruned", 0, 880, 600), ("scratch", 0, 400, 600), ("scratch", 1, 880, 600)]
    compressions.write(tmp_path, record, trained)
    for kind, seed, count, macs in trained:
        folder = alternatives.folder_of(tmp_path, kind, seed)
        lines = [
            Epoch(phase="train", epoch=1, loss=2.0, accuracy=0.9, seconds=1.0),
            Epoch(phase="train", epoch=2, loss=2.0, accuracy=count / 1000, seconds=1.0),
        ]
        for line in lines:
            files.append_line(folder / "epochs.jsonl", json.dumps(line.as_json()))
        compressions.write_network(folder, count, seed, macs)
    reached = verdict.reach(of, 0.02)
    found = presentation._doubted(rivals.read(of), of, reached)
    (said,) = [said for said in smaller_text.of_alternatives(found) if "stuck" in said]
    assert said.startswith('"from scratch", seed 0 may have got stuck: ')
    assert "40.0 % of the test images and 40.0 % of the training images" in said
    # A damaged file of epochs says nothing.
    (alternatives.folder_of(tmp_path, "scratch", 0) / "epochs.jsonl").write_text("nonsense")
    assert presentation._doubted(rivals.read(of), of, reached).stuck is None
    doubtful = dataclasses.replace(reached, doubt="The parent has not learned.")
    assert presentation._doubted(found, of, doubtful).doubt
    assert presentation._doubted(rivals.read(of), of, doubtful).stuck is None


def test_the_verdict_and_each_claim_name_it():
    named, healthy = study((0.85, 0.95), (0.4, 0.4)), study((0.85, 0.95), (0.84, 0.9))
    said = "CL-RW at block2, seed 4 may have got stuck"
    assert said in verdict.describe(verdict.reach(named, 0.02))
    assert "stuck" not in verdict.describe(verdict.reach(healthy, 0.02))
    assert all(f"toy: {said}" in one.why for one in claims.judge([named]))
    assert not any("stuck" in one.why for one in claims.judge([healthy]))
