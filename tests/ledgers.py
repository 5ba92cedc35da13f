"""A study's folder with the results of toy trials."""

import dataclasses

from deep_net_triage.records import results
from deep_net_triage.records.results import Failure, Row, TrialResult

PARENT = "0" * 64


def row(trial):
    text = {"dataset": "toy", "method": trial.method, "block": trial.block_name}
    numbers = {field.name: 0 for field in dataclasses.fields(Row) if field.name not in text}
    return Row(**text, **numbers)


def write(ledger, trial, failed=False):
    folder = ledger.folder_of(trial)
    folder.mkdir(exist_ok=True)
    settings = ledger.identity.of_trial(trial.method, trial.block_name, trial.seed, PARENT)
    (folder / "epochs.jsonl").write_text("{}\n")
    finished = TrialResult(settings, row(trial), results.digests(folder))
    results.write_result(folder, Failure(settings, "loss is nan") if failed else finished)


def write_damaged(ledger, trial):
    """Returns the folder of a trial whose result can't be read."""
    write(ledger, trial)
    folder = ledger.folder_of(trial)
    (folder / "result.json").write_text("nonsense")
    return folder
