"""The networks with which the alternatives to a compressed one start."""

import dataclasses
import shutil
import types
from pathlib import Path

import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import blocks
from deep_net_triage.records import (
    alternatives,
    compressions,
    correctness,
    models,
    results,
)
from deep_net_triage.records.results import NetworkResult
from deep_net_triage.study import alternative_networks, exporting, outcomes
from deep_net_triage.study.alternative_networks import _Networks
from tests import compressions as handmade


def networks(model, names, compressed):
    """The builders for a model of which some blocks were compressed."""
    chosen = blocks.survey(model).select(names)
    plan = types.SimpleNamespace(
        settings=types.SimpleNamespace(folder=Path()), blocks=chosen, network=model
    )
    compression = types.SimpleNamespace(blocks=compressed, macs=1000)
    return _Networks(plan, model, compression)


@pytest.fixture
def chain():
    """Four convolutions in a row that keep the shape, and one that does not."""
    x = images = keras.Input((6, 6, 3))
    for number in (1, 2, 3, 4):
        x = keras.layers.Conv2D(3, 3, padding="same", name=f"c{number}")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", name="c5")(x)
    x = keras.layers.Conv2D(5, 3, padding="same", name="c6")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    return keras.Model(images, keras.layers.Dense(2, name="classes")(x))


@pytest.mark.parametrize("order", [("c1-c2", "c3-c4"), ("c3-c4", "c1-c2")])
def test_neighbouring_blocks_are_left_out_in_any_order(chain, order):
    made = networks(chain, ("c1:c2", "c3:c4"), order).make("left_out", 0)
    convolutions = [x.name for x in made.layers if isinstance(x, keras.layers.Conv2D)]
    assert convolutions == ["c5", "c6"]
    images = np.random.default_rng(0).normal(size=(2, 6, 6, 3)).astype(np.float32)
    x = images
    for name in ("c5", "c6"):
        x = chain.get_layer(name)(x)
    expected = chain.get_layer("classes")(np.mean(x, axis=(1, 2)))
    np.testing.assert_allclose(made(images), expected, rtol=1e-5, atol=1e-5)


def test_blocks_that_another_command_has_compressed_meanwhile_are_refused(chain):
    with pytest.raises(InputError, match="another command has compressed c3-c4; run this"):
        networks(chain, ("c1:c2",), ("c1-c2", "c3-c4"))


def test_a_block_that_changes_the_shape_stays(chain):
    made = networks(chain, ("c1:c2", "c5:c6"), ("c1-c2", "c5-c6")).make("left_out", 0)
    convolutions = [x.name for x in made.layers if isinstance(x, keras.layers.Conv2D)]
    assert convolutions == ["c3", "c4", "c5", "c6"]
    with pytest.raises(InputError, match="c5-c6 can't be left out: the shape of the maps"):
        networks(chain, ("c5:c6",), ("c5-c6",)).make("left_out", 0)


def test_each_kind_is_trained_from_one_seed_before_any_from_the_next(tmp_path, monkeypatch):
    names, refusals = [], []
    (tmp_path / "alternatives").mkdir()
    alternatives.write_refusals(tmp_path, {"narrow": "by an earlier command"})

    class Networks:
        def __init__(self, plan, parent, compression):
            pass

        def make(self, kind, seed):
            return refuse() if kind == "left_out" else kind

    class Trainings:
        identity = types.SimpleNamespace(
            settings=types.SimpleNamespace(
                folder=tmp_path, learning_rate=0.1, classification_rate=lambda updates: 0.01
            )
        )

        parent = types.SimpleNamespace(model=None)

        def __init__(self, *common):
            pass

        def run_network(self, lesson, name, network, folder):
            names.append((network, lesson.seed, lesson.rate, lesson.epochs))
            refusals.append(alternatives.refusals(tmp_path))
            return types.SimpleNamespace(settings={"seed": lesson.seed})

    def refuse():
        raise InputError("another shape")

    monkeypatch.setattr(alternative_networks, "_Networks", Networks)
    monkeypatch.setattr(alternative_networks, "LaterTrainings", Trainings)
    compression = types.SimpleNamespace(blocks=("block1",), epochs=7)
    monkeypatch.setattr(compressions, "read", lambda study: compression)
    plan = types.SimpleNamespace(
        settings=types.SimpleNamespace(folder=tmp_path, final_seeds=(3, 5)),
        identity=None,
        dataset=None,
    )
    progress = types.SimpleNamespace(say=names.append)
    parent = types.SimpleNamespace(model=None)
    alternative_networks.run(plan, parent, progress, print)
    rates = {"scratch": 0.1, "scratch_taught": 0.1, "narrow": 0.1, "pruned": 0.01}
    trained = [(kind, seed, rates[kind], 7) for seed in (3, 5) for kind in rates]
    said = "alternatives: blocks left out: not possible: another shape"
    assert names == [*trained[:2], said, *trained[2:]]
    # They are on disk from when they are known on, for the page that grows meanwhile.
    known = {"left_out": "another shape"}
    assert refusals == [{}, {}, *[known] * 6]
    assert alternatives.refusals(tmp_path) == known


@pytest.fixture
def compared(tmp_path):
    """A compression and alternatives to it, at two rates; what another one leaves of them."""
    record = handmade.compression()
    handmade.write(tmp_path, record)
    rates = {"scratch": 0.1, "narrow": 0.1, "pruned": 0.01}
    for kind, rate in rates.items():
        folder = tmp_path / "alternatives" / f"{kind}-seed0"
        folder.mkdir()
        handmade.write_network(folder, 900, 0, 600, learning_rate=rate, temperature=4.0)

    def left(now=record, learning_rate=0.1, retrain_learning_rate=0.01, temperature=4.0):
        said = []
        settings = types.SimpleNamespace(
            folder=tmp_path,
            learning_rate=learning_rate,
            classification_rate=lambda updates: retrain_learning_rate,
            temperature=temperature,
        )
        before = there()
        outcomes.remove_alternatives(settings, now, said.append)
        named = {Path(line.partition(" is removed: ")[0]).name for line in said}
        assert named == before - there()
        return there()

    def there():
        return {folder.name for folder in (tmp_path / "alternatives").glob("*-seed0")}

    return record, left


def test_alternatives_stay_whatever_the_order_of_the_blocks(compared):
    record, left = compared
    (first, undone, second) = record.steps
    assert len(left()) == 3
    assert len(left(dataclasses.replace(record, steps=(second, undone, first)))) == 3


def test_alternatives_have_ended_if_each_was_trained_as_it_would_be_now(compared, tmp_path):
    scratch = dict.fromkeys(("scratch", "scratch_taught", "narrow"), 0.1)
    rates = scratch | dict.fromkeys(("left_out", "pruned"), 0.01)
    compared_now = rates, 4.0
    assert not alternatives.all_ended(tmp_path, [0], *compared_now)
    impossible = dict.fromkeys(("left_out", "scratch_taught"), "another shape")
    alternatives.write_refusals(tmp_path, impossible)
    assert alternatives.all_ended(tmp_path, [0], *compared_now)
    assert not alternatives.all_ended(tmp_path, [0, 1], *compared_now)
    assert not alternatives.all_ended(tmp_path, [0], rates | {"narrow": 0.2}, 4.0)
    assert not alternatives.all_ended(tmp_path, [0], rates, 2.0)
    failed = results.Failure({"seed": 0, "learning_rate": 0.01, "temperature": 4.0}, "why")
    results.write_result(tmp_path / "alternatives" / "pruned-seed0", failed)
    assert not alternatives.all_ended(tmp_path, [0], *compared_now)


def test_alternatives_to_another_network_go(compared, tmp_path):
    record, left = compared
    (tmp_path / "compressed" / "latency.json").touch()
    assert left(dataclasses.replace(record, epochs=31)) == set()
    assert not (tmp_path / "compressed" / "latency.json").exists()


def test_alternatives_that_would_now_be_trained_otherwise_go(compared):
    _, left = compared
    assert left(retrain_learning_rate=0.02) == {"scratch-seed0", "narrow-seed0"}
    assert left(retrain_learning_rate=0.02, temperature=2.0) == {"scratch-seed0"}  # untaught
    assert left(learning_rate=0.3) == set()


def test_the_alternative_that_the_page_recommends_is_exported_instead(tmp_path):
    pruned = types.SimpleNamespace(kind="pruned", correct={2: None, 1: None})
    compressed = types.SimpleNamespace(kind=None, correct={0: None})
    own = tmp_path / "compressed" / "model.keras"

    def chosen(to_take, doubt=None):
        verdict = types.SimpleNamespace(doubt=doubt, recommendation=None)
        smaller = types.SimpleNamespace(standing=types.SimpleNamespace(to_take=to_take))
        return exporting.chosen(tmp_path, own, smaller, verdict)

    assert chosen(pruned) == tmp_path / "alternatives" / "pruned-seed1" / "model.keras"
    assert chosen(compressed) == chosen(None) == own
    # The page then names no network to take.
    assert chosen(pruned, doubt="The parent has not learned.") == own
    sure = types.SimpleNamespace(doubt=None, recommendation=None)
    assert exporting.chosen(tmp_path, own, None, sure) == own
    assert exporting.chosen(tmp_path, None, None, sure) is None
    student = types.SimpleNamespace(method="stn", block="block2", seed=1)
    recommended = types.SimpleNamespace(doubt=None, recommendation=student)
    assert exporting.chosen(tmp_path, own, None, recommended) == own
    trial = tmp_path / "trials" / "stn-block2-seed1" / "model.keras"
    assert exporting.chosen(tmp_path, None, None, recommended) == trial


def test_seeds_of_other_settings_are_removed(tmp_path):
    """A mean over seeds of two learning rates would be that of no network."""
    handmade.write(tmp_path, handmade.compression())
    for kind, seed, rate in (("narrow", 0, 0.02), ("narrow", 1, 0.002), ("narrow", 2, 0.02)):
        settings = {"learning_rate": rate, "seed": seed, "start_sha256": f"of seed {seed}"}
        write_network(alternatives.folder_of(tmp_path, kind, seed), settings)
    other = alternatives.folder_of(tmp_path, "pruned", 1)
    write_network(other, {"learning_rate": 0.002, "seed": 1})
    newest = {"learning_rate": 0.02, "seed": 0, "start_sha256": "of seed 0"}
    removed = alternatives.remove_others(tmp_path, "narrow", newest)
    assert removed == [alternatives.folder_of(tmp_path, "narrow", 1)]
    left = sorted(folder.name for folder in (tmp_path / "alternatives").iterdir())
    assert left == ["narrow-seed0", "narrow-seed2", "pruned-seed1"]
    assert alternatives.remove_others(tmp_path, "narrow", newest) == []


def test_copies_of_a_folder_are_left_alone(tmp_path):
    handmade.write(tmp_path, handmade.compression())
    folder = alternatives.folder_of(tmp_path, "narrow", 0)
    folder.mkdir()
    correctness.write(folder / results.CORRECT, np.ones(8, bool))
    write_network(folder, {"learning_rate": 0.02, "seed": 0})
    shutil.copytree(folder, folder.with_name("narrow-seed0.bak"))
    (one,) = alternatives.read(tmp_path, 8)
    assert (one.kind, one.seed) == ("narrow", 0)
    assert alternatives.remove_others(tmp_path, "narrow", {"learning_rate": 1}) == [folder]
    assert folder.with_name("narrow-seed0.bak").is_dir()


def test_networks_from_scratch_keep_statistics_of_images_and_take_other_weights(tmp_path):
    """The initializer of the network has a seed of its own, and its images are standardised."""
    x = images = keras.Input((6, 6, 3))
    standardised = keras.layers.Normalization(name="statistics")
    standardised.adapt(np.random.default_rng(0).normal(5, 3, (20, 6, 6, 3)))
    x = standardised(x)
    for name in ("c1", "c2"):
        fixed = keras.initializers.HeNormal(seed=1)
        x = keras.layers.Conv2D(3, 3, padding="same", kernel_initializer=fixed, name=name)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    trained = keras.Model(images, keras.layers.Dense(2, name="classes")(x))
    models.save(trained, tmp_path / "compressed" / "model.keras")
    makers = networks(trained, ("c1:c2",), ("c1-c2",))
    makers.compressed = tmp_path / "compressed" / "model.keras"
    first, again, second = (makers.make("scratch", seed) for seed in (0, 0, 1))
    for network in (first, second):
        kept = network.get_layer("statistics")
        np.testing.assert_array_equal(kept.mean, standardised.mean)
        np.testing.assert_array_equal(kept.variance, standardised.variance)
    for name in ("c1", "c2", "classes"):
        old, one, same, other = (
            model.get_layer(name).kernel.numpy() for model in (trained, first, again, second)
        )
        assert np.array_equal(one, same)
        assert not np.allclose(one, other)
        assert not np.allclose(one, old)


def write_network(folder, settings):
    folder.mkdir(parents=True, exist_ok=True)
    reached = {"accuracy": 0.5, "judged_accuracy": 0.5, "epochs": 3}
    costs = {"parameters": 250, "macs": 600, "seconds": 1.0, "files": results.digests(folder)}
    results.write_result(folder, NetworkResult(settings=settings, **reached, **costs))
