"""What is finished, failed or pending in a study's folder, and how often it is read."""

import dataclasses
import shutil

import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.records import files, results, study_results
from deep_net_triage.study.identity import Trial
from tests.ledgers import write


def test_trials_are_finished_failed_or_pending(new_ledger, trials):
    ledger = new_ledger()
    assert ledger.pending(trials) == trials
    write(ledger, trials[0])
    write(ledger, trials[1], failed=True)
    assert ledger.is_finished(trials[0])
    assert not ledger.is_finished(trials[1])
    assert ledger.failed(trials) == [trials[1]]
    assert ledger.unfinished(trials) == trials[1:]
    assert ledger.pending(trials) == trials[2:]


def test_a_failure_is_tried_once_more_by_a_later_command_and_once_only(new_ledger, trials):
    write(new_ledger(), trials[0], failed=True)
    ledger = new_ledger()
    ledger.remember_failures(trials)
    assert ledger.pending(trials) == trials
    # A process of the same command that begins after the trial has failed again.
    write(ledger, trials[0], failed=True)
    slower = new_ledger()
    slower.earlier_failures = ledger.earlier_failures
    for either in (ledger, slower):
        assert either.pending(trials) == trials[1:]


def test_each_result_is_read_once_until_it_changes(new_ledger, trials, monkeypatch):
    ledger = new_ledger()
    for trial in trials:
        write(ledger, trial)
    reads = []
    read_json = files.read_json
    monkeypatch.setattr(files, "read_json", lambda file: reads.append(file) or read_json(file))
    for _ in range(3):
        assert ledger.pending(trials) == []
        assert len(ledger.trials()) == len(trials)
    assert len(reads) == len(set(reads)) == len(trials)
    write(ledger, trials[0], failed=True)
    assert ledger.failed(trials) == [trials[0]]
    assert len(reads) == len(trials) + 1


def test_another_process_with_other_settings_is_refused(new_ledger, trials):
    write(new_ledger(epochs=3), trials[0])
    with pytest.raises(InputError, match="another process has run block1 cl_rw.*epochs: 3"):
        new_ledger().is_finished(trials[0])


@pytest.mark.parametrize("failed", [False, True])
def test_copies_of_a_trials_folder_do_not_count(new_ledger, trials, failed):
    ledger = new_ledger()
    write(ledger, trials[0], failed)
    folder = ledger.folder_of(trials[0])
    shutil.copytree(folder, folder.with_name(f"{folder.name}.bak"))
    assert list(new_ledger().trials()) == [folder]
    ledger.write_table()
    assert len(results.read_table(ledger.folder)) == (not failed)
    assert list(study_results.read_trials(ledger.folder)) == [folder]


def test_rows_are_in_the_networks_order_whatever_blocks_are_called(new_ledger, trials):
    """Named segments sort by where they are, not by how long their names are."""
    ledger = new_ledger()
    blocks = [
        dataclasses.replace(trials[0].block, name="a_long_name-of_the_first"),
        dataclasses.replace(trials[-1].block, name="b-last"),
    ]
    for block in blocks[::-1]:
        write(ledger, Trial("cl_rw", block, 0))
    described = [_description(block.name) for block in blocks]
    files.write_json(ledger.folder / "study.json", {"dataset": "toy", "blocks": described})
    ledger.write_table()
    written = [row.block for row in results.read_table(ledger.folder)]
    assert written == ["a_long_name-of_the_first", "b-last"]


def _description(name):
    counts = dict.fromkeys(
        ["layers", "convolutions", "parameters", "macs", "compressed_parameters"], 1
    )
    sides = {"received": [8, 8, 2], "returned": [8, 8, 2]}
    names = {"name": name, "first": "a", "last": "b", "pool": None}
    return {**names, **counts, **sides, "compressed_macs": 1}
