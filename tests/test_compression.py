"""Several blocks of a parent that has learned, compressed one after another."""

import dataclasses
import io
import shutil
import types

import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.findings import presentation, rivals
from deep_net_triage.images import datasets
from deep_net_triage.network import costs, latency_timing
from deep_net_triage.network.latencies import FORMATS, Latency
from deep_net_triage.network.latency_timing import Timing
from deep_net_triage.progress import Progress
from deep_net_triage.records import (
    alternatives,
    compressions,
    locks,
    models,
    results,
    study_results,
)
from deep_net_triage.records.compressions import Final
from deep_net_triage.study import compression, trials, unseen
from tests.studies import read, run, snapshot


@pytest.fixture(scope="module")
def learned(tmp_path_factory):
    """The file of a network of two blocks that has learned the digits."""
    digits = datasets.load("digits", image_size=8)
    keras.utils.set_random_seed(0)
    x = images = keras.Input((8, 8, 1))
    x = keras.layers.Rescaling(1 / 16)(x)
    for block in (1, 2):
        for number in (1, 2):
            name = f"b{block}_conv{number}"
            x = keras.layers.Conv2D(8 * block, 3, padding="same", name=name)(x)
            x = keras.layers.ReLU()(x)
        x = keras.layers.MaxPooling2D(2)(x)
    x = keras.layers.Dense(10)(keras.layers.Flatten()(x))
    model = keras.Model(images, x)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    train, test = (
        [tensor.numpy() for tensor in (split.images, split.labels)]
        for split in (digits.train, digits.test)
    )
    model.fit(*train, batch_size=32, epochs=8, verbose=0)
    assert model.evaluate(*test, verbose=0)[1] > 0.9
    file = tmp_path_factory.mktemp("learned") / "parent.keras"
    model.save(file)
    return file


@pytest.fixture(scope="module")
def flags(learned):
    """Of a study of both blocks of which whatever is lost may be lost."""
    chosen = ("--method=cm_mw", "--train_examples=600", "--compress", "--max_drop=0.99")
    return (f"--parent={learned}", *chosen)


@pytest.fixture(scope="module")
def folder(tmp_path_factory, flags):
    folder = tmp_path_factory.mktemp("runs")
    assert run(folder, *flags, "--export=saved_model", "--alternatives") == 0
    return folder


@pytest.fixture
def changing(folder, tmp_path):
    """A copy of the compressed study, for a test that changes it."""
    return shutil.copytree(folder, tmp_path / "changing")


def test_blocks_are_compressed_one_after_another(folder):
    study = folder / "digits"
    result = read(study / "compressed" / "result.json")
    rows = {row.block: row for row in study_results.read_study(study).rows}
    candidates = {c["block"]: c for c in result["candidates"]}
    assert set(candidates) == {"block1", "block2"}
    for name, considered in candidates.items():
        assert considered["saved"] == 1 - rows[name].macs / rows[name].parent_macs
        # The study holds a tenth of its training images out, and they judge.
        last = results.read_epochs(study / "trials" / f"cm_mw-{name}-seed0")[-1]
        judged = result["baseline_judged"] - last.held_out_accuracy
        assert considered["cost"] == pytest.approx(judged)
        assert considered["low"] < judged < considered["high"]
    assert result["held_out"] == 60
    # Those that save most come first.
    tried = [step["block"] for step in result["steps"]]
    assert tried == sorted(candidates, key=lambda name: -candidates[name]["saved"])
    assert all(step["kept"] for step in result["steps"])
    # Triage has trained the first one's student already.
    first = f"cm_mw-{tried[0]}"
    step, trial = study / "compressed" / f"1-{first}", study / "trials" / f"{first}-seed0"
    assert snapshot(step) == snapshot(trial)
    model = models.load(study / "compressed" / "model.keras")
    parent = models.load(study / "parent" / "model.keras")
    names = {layer.name for layer in model.layers}
    for number in (1, 2):
        assert f"block{number}_compressed_conv" in names
        assert f"b{number}_conv1" not in names
    saved = parent.count_params() - model.count_params()
    one_each = [rows[b].parent_parameters - rows[b].parameters for b in rows]
    assert saved == sum(one_each)
    assert result["parameters"] == model.count_params()
    # What is exported is the network that the page recommends.
    taken = rivals.read(study_results.read_study(study)).standing.to_take
    where = study / "compressed"
    if taken.kind:
        where = alternatives.folder_of(study, taken.kind, min(taken.correct))
    assert [file.parent.parent for file in study.rglob("saved_model.pb")] == [where]


def test_the_page_names_what_runs_after_the_trials(flags, tmp_path, monkeypatch):
    standing = []

    def present(study, runs, max_drop, smaller=None):
        standing.append(runs.sentences()[-1])
        if smaller:
            known.append(len(smaller.alternatives))

    known = []
    monkeypatch.setattr(presentation, "present_unfinished", present)
    assert run(tmp_path, *flags, "--alternatives") == 0
    named = [said.partition("Running: ")[2] for said in standing if "have ended. R" in said]
    (second,) = read(tmp_path / "digits" / "compressed" / "result.json")["steps"][1:]
    assert named[:3] == [
        f"compressing {second['block']} cm_mw seed 0.",
        "compressed network, seed 0.",
        "alternative from scratch, seed 0.",
    ]
    # The compressed network and the alternatives that have ended are there as well.
    assert known == list(range(len(named) - 2)) == [0, 1, 2, 3]


def test_the_same_command_finds_it_done(folder, flags):
    compressed = folder / "digits" / "compressed"
    before = snapshot(compressed)
    of_an_earlier_search = compressed / "half-stn-block1_last"
    of_an_earlier_search.mkdir()
    results.write_result(of_an_earlier_search, results.Failure({}, "loss is nan"))
    assert run(folder, *flags) == 0
    after = snapshot(compressed)
    for file in before:
        if file.name == "model.keras" and len(file.parts) > 1:
            assert before[file] == after[file]
    # This search does not try it: the page must not name its failure.
    assert not of_an_earlier_search.exists()


def test_no_alternative_is_in_training_while_what_it_is_compared_with_changes(
    folder, flags, monkeypatch
):
    lock = results.lock_file(folder / "digits" / "alternatives")
    holders, write = [], compressions.write

    def write_noting_the_lock(study, found):
        holders.append(locks.holder(lock))
        write(study, found)

    monkeypatch.setattr(compressions, "write", write_noting_the_lock)
    assert run(folder, *flags) == 0
    (holder,) = holders
    assert holder
    assert not locks.holder(lock)


def test_the_whole_network_is_retrained_at_last(folder):
    study = folder / "digits"
    result = read(study / "compressed" / "result.json")
    (final,) = result["finals"]
    ended = results.read_network(study / "compressed" / "final-of-1-2-seed0")
    assert final["accuracy"] == ended.accuracy
    assert ended.epochs == 2
    assert ended.settings["blocks_learned"] == [step["block"] for step in result["steps"]]
    parent = results.read_parent(study / "parent")
    assert ended.settings["teacher_sha256"] == parent.weights_sha256
    last = result["steps"][-1]
    if final["judged_accuracy"] >= last["judged_accuracy"]:
        saved, accuracy, epochs = (
            study / "compressed" / "final-of-1-2-seed0",
            final["accuracy"],
            6,
        )
    else:
        saved, accuracy, epochs = study / "compressed" / f"2-cm_mw-{last['block']}", None, 4
        accuracy = last["accuracy"]
    assert result["accuracy"] == accuracy
    # Two for each step, and two at last.
    assert result["epochs"] == epochs
    weights = [models.load(f / "model.keras").get_weights() for f in (saved, saved.parent)]
    assert all(map(np.array_equal, *weights))


def test_the_alternatives_are_trained_for_as_many_epochs(folder):
    study = folder / "digits"
    compression = compressions.read(study)
    made = {other.kind: other for other in alternatives.read(study, 30)}
    # Both blocks change the number of channels.
    assert set(made) == {"scratch", "scratch_taught", "narrow", "pruned"}
    (refusal,) = alternatives.refusals(study).items()
    assert refusal[0] == "left_out"
    assert "the shape of the maps changes there" in refusal[1]
    teacher = results.read_parent(study / "parent").weights_sha256
    for kind, other in made.items():
        settings = other.result.settings
        assert other.result.epochs == compression.epochs
        assert (settings["teacher_sha256"] == teacher) == (kind != "scratch")
        assert other.result.macs <= compression.macs
        assert other.correct.mean() == pytest.approx(other.result.accuracy)
        file = alternatives.folder_of(study, kind, 0) / "model.keras"
        network = models.load(file)
        assert costs.macs(network) == other.result.macs
    starts = {kind: other.result.settings["start_sha256"] for kind, other in made.items()}
    assert starts["scratch"] == starts["scratch_taught"]
    assert len(set(starts.values())) == 3
    assert made["scratch"].result.macs == compression.macs


def only_the_first_step_is_kept(study):
    """Checks what is saved of a compression whose second step was undone."""
    result = read(study / "compressed" / "result.json")
    assert [step["kept"] for step in result["steps"]] == [True, False]
    names = {layer.name for layer in models.load(study / "compressed/model.keras").layers}
    kept, undone = (step["block"] for step in result["steps"])
    assert f"{kept}_compressed_conv" in names
    assert f"b{undone[-1]}_conv1" in names


def test_a_step_that_surely_loses_too_much_is_undone(changing, flags, monkeypatch):
    """The second step is said to lose at least all of the accuracy."""
    interval = compression._Search._interval

    def worse(search, folders):
        lost = folders[0].name.startswith("2-")
        return (1.0, 1.0) if lost else interval(search, folders)

    monkeypatch.setattr(compression._Search, "_interval", worse)
    assert run(changing, *flags) == 0
    only_the_first_step_is_kept(changing / "digits")
    # The alternatives were those to another network.
    assert alternatives.read(changing / "digits", 30) == []


def test_a_step_that_costs_too_much_after_the_final_retraining_is_undone(
    changing, flags, monkeypatch, capsys
):
    """The network of two compressed blocks is said to be worse than that of one."""
    finals = compression._Search._retrained

    def worse(search, seeds):
        made = finals(search, seeds)
        if len(search.so_far.blocks) == 1:
            return made
        search.so_far.steps[-1] = dataclasses.replace(search.so_far.last, judged_accuracy=-1.0)
        return [dataclasses.replace(final, judged_accuracy=-1.0) for final in made]

    monkeypatch.setattr(compression._Search, "_retrained", worse)
    assert run(changing, *flags) == 0
    study = changing / "digits"
    only_the_first_step_is_kept(study)
    assert "undone: the retrained network loses more than --max_drop" in (
        capsys.readouterr().out
    )
    (final,) = read(study / "compressed" / "result.json")["finals"]
    assert final["folder"] == "final-of-1-seed0"


def test_without_a_final_retraining_a_step_that_costs_too_much_is_undone(
    changing, flags, monkeypatch, capsys
):
    """The final retraining of two compressed blocks is said to fail, and both to be bad."""
    finals = compression._Search._retrained

    def failing(search, seeds):
        if len(search.so_far.blocks) == 1:
            return finals(search, seeds)
        search.so_far.steps[-1] = dataclasses.replace(search.so_far.last, judged_accuracy=-1.0)
        return []

    monkeypatch.setattr(compression._Search, "_retrained", failing)
    assert run(changing, *flags) == 0
    only_the_first_step_is_kept(changing / "digits")
    assert "--max_drop, and its retraining failed" in capsys.readouterr().out


def test_a_step_whose_training_fails_is_undone(changing, flags, monkeypatch, capsys):
    """The second step's training is said to diverge; what was measured is of two blocks."""
    begun = trials.LaterTrainings.run_trial

    def fails(beside, trial, name, network, where):
        result = begun(beside, trial, name, network, where)
        if not where.name.startswith("2-"):
            return result
        return results.Failure({}, "the loss is no longer finite")

    monkeypatch.setattr(trials.LaterTrainings, "run_trial", fails)
    study = changing / "digits"
    compressions.write_latencies(study, [Latency("smaller", "keras", 1, 1, 0.5, 0.1)])
    before = compressions.read(study)
    compressions.write(study, dataclasses.replace(before, macs=before.macs + 1))
    assert run(changing, *flags, "--nolatency") == 0
    said = capsys.readouterr().out
    assert ": the training failed; undone" in said
    # It shows no evidence on a block of a network that is no longer the parent.
    assert "with random kernels" not in said
    (second,) = (study / "compressed").glob("2-*/")
    row = results.read_trial(second).row
    assert (row.reinitialized_accuracy, row.bypassed_accuracy, row.parent_bytes) == (None,) * 3
    kept, failed = read(study / "compressed" / "result.json")["steps"]
    assert (kept["kept"], failed["kept"], failed["accuracy"]) == (True, False, None)
    assert compressions.read_latencies(study) == ()


def test_the_search_can_go_by_latency_and_measures_what_it_made(changing, flags, monkeypatch):
    """Each smaller network is said to take half the time, in every format."""
    halved = [Timing(2.0, 0.1), Timing(1.0, 0.1)]
    monkeypatch.setattr(latency_timing, "_in_turns", lambda runs: halved)
    assert run(changing, *flags, "--save=latency", "--latency", "--latency_batches=1") == 0
    study = changing / "digits"
    result = compressions.read(study)
    assert result.save == "latency"
    assert [considered.saved for considered in result.candidates] == [0.5, 0.5]
    assert result.blocks
    measured = {(one.model, one.format) for one in compressions.read_latencies(study)}
    assert measured == {(model, name) for model in ("parent", "smaller") for name in FORMATS}
    # Each candidate's latency is kept for the next command.
    kept = read(study / "compressed" / "savings.json")["saved"]
    assert kept == {"block1": 0.5, "block2": 0.5}


def test_a_parent_that_knows_the_held_out_images_is_refused(
    flags, tmp_path, monkeypatch, capsys
):
    def refuse(model, dataset, report):
        assert len(dataset.validation) == 60
        raise InputError("the parent has been trained on them")

    monkeypatch.setattr(unseen, "check", refuse)
    assert run(tmp_path, *flags) == 2
    assert "the parent has been trained on them" in capsys.readouterr().err
    # Nothing is held out, or what is held out decides on no compression.
    assert run(tmp_path, *flags, "--validation_fraction=0", "--method=cl_mw") == 0
    assert (
        run(
            tmp_path / "uncompressed",
            *flags,
            "--nocompress",
            "--method=cl_mw",
            "--validation_fraction=0.1",
        )
        == 0
    )


def test_students_that_were_not_saved_are_missed_by_name(flags, tmp_path, capsys):
    others = [flag for flag in flags if flag != "--compress"]
    assert run(tmp_path, *others, "--nosave_models", "--validation_fraction=0") == 0
    assert run(tmp_path, *flags, "--validation_fraction=0") == 2
    error = capsys.readouterr().err
    for block in ("block1", "block2"):
        assert f"cm_mw-{block}-seed0/model.keras" in error
    assert "removed since. To train them again, remove the folders of these files" in error


def test_students_of_blocks_that_a_command_leaves_out_are_not_needed(flags, tmp_path):
    others = [flag for flag in flags if flag != "--compress"]
    unsaved = ("--block=1", "--nosave_models", "--validation_fraction=0")
    assert run(tmp_path, *others, *unsaved) == 0
    assert run(tmp_path, *flags, "--block=2", "--validation_fraction=0") == 0


def test_nothing_is_saved_where_no_block_is_good_enough(flags, tmp_path, capsys):
    assert run(tmp_path, *flags, "--method=cl_mw", "--train_examples=60", "--max_drop=0") == 0
    study = tmp_path / "digits"
    result = read(study / "compressed" / "result.json")
    assert all(considered["cost"] > 0 for considered in result["candidates"])
    assert result["steps"] == []
    assert not (study / "compressed" / "model.keras").exists()
    assert "Nothing was compressed: each candidate loses more than" in capsys.readouterr().out


def test_candidates_that_overlap_a_step_are_tried_once_it_is_undone():
    """Of two halves of a block that is undone at last, the second is worth keeping."""
    whole, first, second = (Considered(layers) for layers in ("abcd", "ab", "cd"))
    search = object.__new__(compression._Search)
    search.so_far, search.progress = SoFar(), Progress(io.StringIO())
    search.plan = types.SimpleNamespace(settings=types.SimpleNamespace(final_seeds=(0, 1)))
    search._compress = lambda one: search.so_far.take(one, kept=one is not first)
    search._retrained = lambda seeds: [Final(seed, "", 0.5, 0.5) for seed in seeds]
    search._allows = lambda judged: search.so_far.blocks == ["cd"]
    waiting = search.attempt([whole, first, second])
    assert (search.so_far.blocks, waiting) == (["abcd"], [first, second])
    assert [final.seed for final in search._finals(waiting)] == [0, 1]
    assert search.so_far.tried == ["abcd", "ab", "cd"]


class Considered:
    def __init__(self, layers):
        self.block = layers


class SoFar:
    """A network whose blocks are texts that overlap where they share letters."""

    def __init__(self):
        self.blocks, self.tried = [], []

    @property
    def last(self):
        return types.SimpleNamespace(block=self.blocks[-1], judged_accuracy=0.5)

    def overlaps(self, block):
        return any(set(block) & set(one) for one in self.blocks)

    def take(self, candidate, kept):
        self.tried.append(candidate.block)
        if kept:
            self.blocks.append(candidate.block)

    def undo(self):
        self.blocks.pop()


def test_a_parent_that_has_not_learned_is_not_compressed(tmp_path, capsys):
    flags = ("--method=cl_mw", "--block=5", "--compress", "--max_drop=0.99")
    assert run(tmp_path, *flags) == 0
    assert "compressing: The parent has not learned" in capsys.readouterr().out
    assert not (tmp_path / "digits" / "compressed" / "model.keras").exists()
