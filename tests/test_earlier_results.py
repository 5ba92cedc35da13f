"""What a command uses, refuses or replaces of what its folder holds."""

import dataclasses

import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.records import results
from deep_net_triage.records.locks import Lock
from deep_net_triage.records.results import ParentResult
from deep_net_triage.study.earlier_results import EarlierResults
from tests.ledgers import PARENT, write, write_damaged
from tests.studies import interrupted


@pytest.mark.parametrize(
    ("shard", "verifies", "checked"), [(None, True, 4), ((0, 2), True, 2), (None, False, 0)]
)
def test_files_are_hashed_once_a_command(
    shard, verifies, checked, new_ledger, trials, monkeypatch
):
    ledger = new_ledger(shard=shard)
    for trial in trials:
        write(ledger, trial)
    hashed = []
    monkeypatch.setattr(results, "check_files", lambda folder, recorded: hashed.append(folder))
    ledger.verifies = verifies
    EarlierResults(ledger).compare_trials(trials[:2] if shard else trials)
    assert len(hashed) == checked


def test_overwrite_says_what_it_removes_and_never_removes_the_given_parent(new_ledger, trials):
    said = []
    compressed = new_ledger().folder / "compressed"
    compressed.mkdir()
    write(new_ledger(epochs=3), trials[0])
    given = compressed / "model.keras"
    given.touch()
    earlier = EarlierResults(new_ledger(overwrite=True, parent=given))
    with pytest.raises(InputError, match="--overwrite removes; move it to another folder"):
        earlier.compare_trials(trials)
    assert compressed.is_dir()
    earlier = EarlierResults(new_ledger(said.append, overwrite=True))
    earlier.compare_trials(trials)
    assert said[-1].endswith(", and compressed/ removed")
    earlier.remove()
    assert not compressed.exists()


def test_finished_trials_without_a_model_are_named_before_a_compression_needs_them(
    new_ledger, trials
):
    said = []
    saved = new_ledger().folder_of(trials[1]) / "model.keras"
    saved.parent.mkdir()
    saved.touch()
    for trial in trials[:2]:
        write(new_ledger(), trial)
    compressing = {"compress": True, "validation_fraction": 0}
    of_a_worker = new_ledger(said.append, **compressing)
    of_a_worker.verifies = False
    for ledger in (new_ledger(said.append), of_a_worker):
        EarlierResults(ledger).compare_trials(trials)
    assert not said
    EarlierResults(new_ledger(said.append, **compressing)).compare_trials(trials)
    (text,) = said
    assert text.startswith(f"no saved model: {trials[0]}; --compress will stop if it needs one")


def test_an_interrupted_trial_of_other_settings_stops_the_study_before_it_begins(
    new_ledger, trials
):
    ledger = new_ledger(epochs=3)
    wanted = ledger.identity.of_trial(*trials[2].key, PARENT)
    folder = ledger.folder_of(trials[2])
    interrupted(folder, wanted)
    EarlierResults(ledger).compare_trials(trials[:1])  # it can go on
    assert ledger.epochs_done(folder) == 1
    with pytest.raises(InputError, match=r"holds 1 interrupted trial with .*epochs: 3, now 2"):
        EarlierResults(new_ledger()).compare_trials(trials[:1])
    earlier = EarlierResults(new_ledger(overwrite=True))
    earlier.compare_trials(trials[:1])
    assert earlier.ledger.epochs_done(folder) == 0
    earlier.remove()
    assert not folder.exists()


def test_finished_and_interrupted_trials_of_other_settings_are_replaced_together(
    new_ledger, trials
):
    before = new_ledger(epochs=3)
    compressed = before.folder / "compressed"
    compressed.mkdir()
    write(before, trials[0])
    folder = before.folder_of(trials[2])
    interrupted(folder, before.identity.of_trial(*trials[2].key, PARENT))
    earlier = EarlierResults(new_ledger(overwrite=True))
    earlier.compare_trials(trials)
    earlier.remove()
    assert not any(one.exists() for one in (compressed, folder, before.folder_of(trials[0])))


def test_what_another_job_has_replaced_meanwhile_stays(new_ledger, trials):
    """Two jobs with --overwrite find the same old trials; the first has begun anew already."""
    for trial in trials[:2]:
        write(new_ledger(epochs=3), trial)
    compressed = new_ledger().folder / "compressed"
    compressed.mkdir()
    jobs = [EarlierResults(new_ledger(overwrite=True)) for _ in range(2)]
    for job in jobs:
        job.compare_trials(trials)
    jobs[0].remove()
    write(new_ledger(), trials[0])  # under settings of now
    begun = new_ledger().folder_of(trials[1])
    begun.mkdir()  # no epoch has ended yet
    compressed.mkdir()
    jobs[1].remove()
    assert begun.is_dir()
    assert compressed.is_dir()
    assert [jobs[1].ledger.is_finished(trial) for trial in trials[:2]] == [True, False]


def test_a_damaged_trial_of_another_command_is_named_and_stays(new_ledger, trials):
    said = []
    write(new_ledger(), trials[1])
    folder = write_damaged(new_ledger(), trials[0])
    earlier = EarlierResults(new_ledger(said.append))
    earlier.compare_trials(trials[1:])
    earlier.remove()
    assert folder.is_dir()
    (line,) = said
    assert line.endswith("a command that includes the trial runs it again")


def test_a_damaged_trial_of_another_command_is_compared_by_its_settings(new_ledger, trials):
    before = new_ledger(epochs=3)
    write(before, trials[0])
    folder = before.folder_of(trials[0])
    (folder / "epochs.jsonl").write_text("changed")
    with pytest.raises(InputError, match=r"1 finished trial with .*epochs: 3, now 2"):
        EarlierResults(new_ledger()).compare_trials(trials[1:])
    earlier = EarlierResults(new_ledger(overwrite=True))
    earlier.compare_trials(trials[1:])
    earlier.remove()
    assert not folder.exists()


def test_a_damaged_trial_is_removed_once_and_not_under_another_process(new_ledger, trials):
    """As where the parent's digest is known only after the parent has been made."""
    said = []
    ledger = new_ledger(said.append)
    folder = write_damaged(ledger, trials[0])
    earlier = EarlierResults(ledger)
    earlier.compare_trials(trials)
    earlier.remove()
    assert not folder.exists()
    (folder / "model.keras").mkdir(parents=True)  # another process's, which has begun it
    earlier.compare_trials(trials)
    earlier.remove()
    assert folder.is_dir()
    (line,) = said
    assert line.endswith("the trial is run again")


def test_a_damaged_trial_that_another_process_runs_stays(new_ledger, trials):
    said = []
    ledger = new_ledger(said.append)
    folder = write_damaged(ledger, trials[0])
    with Lock(results.lock_file(folder)):
        earlier = EarlierResults(ledger)
        earlier.compare_trials(trials)
        earlier.remove()
    assert folder.is_dir()
    (line,) = said
    assert line.endswith(" works on it")


def test_trials_without_their_parent_say_that_it_is_missing(new_ledger, trials):
    write(new_ledger(), trials[0])
    ledger = new_ledger()
    ledger.parent_sha256 = None
    with pytest.raises(InputError, match=r"now none: its model is missing or damaged"):
        EarlierResults(ledger).compare_trials(trials)


def test_an_interrupted_parent_of_other_settings_stops_the_study_before_it_begins(new_ledger):
    ledger = new_ledger(parent_epochs=3)
    folder = ledger.folder / "parent"
    interrupted(folder, ledger.identity.of_parent())
    EarlierResults(ledger).compare_parent()  # it can go on
    assert ledger.epochs_done(folder) == 1
    with pytest.raises(InputError, match=r"a parent in training with .*parent_epochs: 3, now"):
        EarlierResults(new_ledger()).compare_parent()
    earlier = EarlierResults(new_ledger(overwrite=True))
    earlier.compare_parent()
    assert earlier.ledger.epochs_done(folder) == 0
    earlier.remove()
    assert not folder.exists()


def test_a_given_parent_does_not_take_the_place_of_one_in_training_unasked(
    new_ledger, tmp_path
):
    before = new_ledger(parent_epochs=3)
    folder = before.folder / "parent"
    interrupted(folder, before.identity.of_parent())

    def given(**flags):
        ledger = new_ledger(**flags)
        ledger.identity = dataclasses.replace(ledger.identity, given="own.keras")
        return EarlierResults(ledger)

    with pytest.raises(InputError, match=r"a parent in training with .*parent: not set, now"):
        given().compare_parent()
    (folder / "own.keras").touch()
    earlier = given(overwrite=True)
    earlier.compare_parent()
    earlier.remove()
    assert (folder / "own.keras").exists()


def test_a_replaced_parent_takes_with_it_what_was_shown_of_it(new_ledger, trials):
    before = new_ledger(parent_epochs=3)
    study = before.folder
    (study / "figures").mkdir()
    (study / "parent").mkdir()
    files_made = [
        study / name for name in ("report.html", "figures/a.png", "parent/model.keras")
    ]
    for file in files_made:
        file.write_text("of the parent of before")
    write(before, trials[0])
    measured = {"baseline_accuracy": 0.5, "final_accuracy": 0.5, "seconds": 1.0, "max_epoch": 1}
    counted = {"weights_sha256": "1" * 64, "parameters": 1, "macs": 1}
    digests = results.digests(study / "parent")
    result = ParentResult(
        settings=before.identity.of_parent(), **measured, **counted, files=digests
    )
    results.write_result(study / "parent", result)
    earlier = EarlierResults(new_ledger(overwrite=True))
    earlier.compare_parent()
    assert earlier.ledger.trials() == {}
    assert all(file.exists() for file in files_made)  # nothing goes before the study begins
    earlier.remove()
    assert [file.name for file in files_made if file.exists()] == ["model.keras"]
    assert list((study / "trials").iterdir()) == []


@pytest.mark.parametrize("file", ["result.json", "epochs.jsonl"])
def test_a_damaged_trial_is_named_and_removed(file, new_ledger, trials):
    said = []
    ledger = new_ledger(said.append)
    for trial in trials[:2]:
        write(ledger, trial)
    damaged = ledger.folder_of(trials[0])
    (damaged / file).write_text("nonsense")
    earlier = EarlierResults(new_ledger(said.append))
    earlier.compare_trials(trials)
    assert len(said) == 1
    assert f"{damaged / file} is damaged" in said[0]
    earlier.remove()
    assert not damaged.exists()
    assert earlier.ledger.pending(trials) == [trials[0], *trials[2:]]
    assert [row.method for row in results.read_table(ledger.folder)] == ["stn"]
