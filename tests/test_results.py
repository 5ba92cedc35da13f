import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.findings import tables
from deep_net_triage.records import files, results


def curve(*accuracies, distill=0):
    distilling = [
        {"phase": "distill", "epoch": n, "val_accuracy": None} for n in range(distill)
    ]
    return distilling + [
        {"phase": "train", "epoch": n, "val_accuracy": accuracy}
        for n, accuracy in enumerate(accuracies, start=1)
    ]


@pytest.mark.parametrize(
    ("accuracies", "max_epoch", "epochs_to_99"),
    [
        ([0.5, 0.98, 1.0, 0.99], 3, 3),  # 0.98 is below 0.99, though 0.99 comes later
        ([0.5, 0.99, 1.0], 3, 2),  # exactly 99 %
        ([0.9405, 0.95], 2, 1),  # exactly 99 % where 0.99 x 0.95 is no round number
        ([0.8, 0.8, 0.8], 1, 1),  # the first of equals
        ([0.9], 1, 1),
        ([0.9, 0.2, 0.905], 3, 1),  # a dip in between does not matter
        ([0.0, 0.0], 1, 1),
    ],
)
def test_summary_of_a_curve(accuracies, max_epoch, epochs_to_99):
    for distill in (0, 4):
        assert results.summarize(curve(*accuracies, distill=distill)) == {
            "max_accuracy": max(accuracies),
            "max_epoch": max_epoch,
            "epochs_to_99": epochs_to_99,
            "final_accuracy": accuracies[-1],
            "chosen_epoch": max_epoch,
            "chosen_accuracy": max(accuracies),
        }


def test_held_out_images_choose_the_epoch():
    records = curve(0.5, 0.9, 0.7, distill=1)
    for record, held_out in zip(records[1:], (0.4, 0.6, 0.8), strict=True):
        record["held_out_accuracy"] = held_out
    summary = results.summarize(records)
    assert (summary["max_accuracy"], summary["max_epoch"]) == (0.9, 2)
    assert (summary["chosen_accuracy"], summary["chosen_epoch"]) == (0.7, 3)


def test_differences_name_what_changed():
    recorded = {"epochs": 5, "method": "stn", "gone": 1}
    asked = {"epochs": 3, "method": "stn", "new": 2}
    assert results.differences(recorded, asked) == [
        "epochs: 5, now 3",
        "gone: 1, now not set",
        "new: not set, now 2",
    ]
    assert results.differences(asked, dict(asked)) == []


def write_trial(study, method, block, accuracy, status="finished", seed=0, epochs_to_99=2):
    row = dict.fromkeys(results.COLUMNS) | {
        "dataset": "toy",
        "method": method,
        "block": block,
        "seed": seed,
        "baseline_accuracy": 0.9,
        "max_accuracy": accuracy,
        "accuracy_drop": 0.9 - accuracy,
        "epochs_to_99": epochs_to_99,
        "distill_epochs": 4 if method.startswith("stn") else 0,
    }
    folder = results.trial_folder(study, method, block, seed)
    result = {"status": status, "reason": None, "settings": {}, "files": {}}
    if status == "finished":
        result["row"] = row
    folder.mkdir(parents=True, exist_ok=True)
    files.write_json(folder / "result.json", result)


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "toy"
    parent = {"status": "finished", "settings": {"dataset": "toy"}, "baseline_accuracy": 0.9}
    (folder / "parent").mkdir(parents=True)
    files.write_json(folder / "parent" / "result.json", parent)
    write_trial(folder, "stn", "block2", 0.95, seed=0)
    write_trial(folder, "stn", "block2", 0.85, seed=1, epochs_to_99=5)
    write_trial(folder, "cl_rw", "block10", 0.8)
    write_trial(folder, "cm_rw", "block2", 0.99, status="failed")
    results.write_table(folder)
    return folder


def test_table_holds_finished_trials_only_and_reads_back(study):
    lines = (study / "results.csv").read_text().splitlines()
    assert lines[0] == ",".join(results.COLUMNS)
    assert len(lines) == 4
    found = results.read_study(study)
    assert (found.dataset, found.baseline_accuracy) == ("toy", 0.9)
    assert {row["method"] for row in found.rows} == {"stn", "cl_rw"}
    row = next(row for row in found.rows if row["seed"] == 1)
    assert row["max_accuracy"] == 0.85
    assert row["epochs_to_99"] == 5
    assert row["distilled_accuracy"] is None


def test_table_is_always_made_anew(study):
    write_trial(study, "stn", "block2", 0.5, seed=1, status="failed")
    results.write_table(study)
    assert [
        row["seed"] for row in results.read_study(study).rows if row["method"] == "stn"
    ] == [0]


def test_studies_are_found_in_an_output_folder_or_as_one(study):
    assert results.studies_in(study.parent) == [study]
    assert results.studies_in(study) == [study]
    with pytest.raises(InputError, match="no results"):
        results.studies_in(study / "trials")
    with pytest.raises(InputError, match="holds no finished parent"):
        results.read_study(study / "trials")
    files.write_json(study / "parent" / "result.json", {"status": "failed"})
    with pytest.raises(InputError, match="holds no finished parent"):
        results.read_study(study)


def test_terminal_table_shows_means_over_seeds_and_gaps(study):
    found = results.read_study(study)
    lines = [line.split("  ") for line in tables.table(found).splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    header = next(line for line in cells if "STN" in line)
    assert header == ["CL-RW", "STN"]
    rows = {line[0]: line[1:] for line in cells if line and line[0].startswith("block")}
    # Two seeds of 95 % and 85 %, two and five epochs; the failed cm_rw has no column.
    assert rows == {"block2": ["-", "90.0 +0.0 3.5"], "block10": ["80.0 -10.0 2", "-"]}
    assert list(rows) == ["block2", "block10"]
    assert "toy: the parent reaches 90.0 %" in tables.table(found)


def test_mean_of_what_there_is():
    assert results.mean([1, None, 3]) == 2
    assert results.mean([None]) is None
