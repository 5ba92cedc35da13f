import keras
import numpy as np
import pytest
import tensorflow as tf

from deep_net_triage.commands.settings import GIB
from deep_net_triage.errors import TrainingFailed
from deep_net_triage.learning import training
from deep_net_triage.learning.array_stores import ArrayStore
from deep_net_triage.learning.learner import Classifier, StudentTeacher
from deep_net_triage.learning.retraining import Retraining
from deep_net_triage.learning.sources import for_model
from deep_net_triage.learning.walk import Walk
from deep_net_triage.methods import METHODS
from deep_net_triage.network import surgery
from deep_net_triage.network.blocks import find_blocks
from tests.conftest import new_journal
from tests.test_training import independent_accuracy
from tests.toys import dtype_policy, toy_parent


def retraining(parent, dataset, settings, block=1, tmp_path=None, **limits):
    """That of a toy's block; it reads images, or a walk where there is room."""
    found = find_blocks(parent)
    block, source = found[block], for_model(dataset, settings)
    if limits:
        store = ArrayStore(tmp_path, **{"memory": 0, "disk": 0} | limits)
        source = Walk(parent, dataset, store, settings, found).source_for(block)
    return Retraining(parent, block, dataset, source, settings)


def run(retraining, method, seed=0):
    records = []
    trained = retraining.run(method, seed, new_journal(records.append))
    return records, trained, trained.model.get_weights()


def assert_same(found, expected, tolerance):
    """Records and weights, times apart."""
    for (records, trained, weights), (others, other, other_weights) in ((found, expected),):
        assert trained.initial_accuracy == other.initial_accuracy
        assert trained.distilled_accuracy == other.distilled_accuracy
        for record, wanted in zip(records, others, strict=True):
            assert (record.phase, record.epoch) == (wanted.phase, wanted.epoch)
            for name in vars(record).keys() - {"seconds", "phase"}:
                numbers = [getattr(r, name) for r in (record, wanted)]
                values = [np.nan if number is None else number for number in numbers]
                np.testing.assert_allclose(*values, rtol=tolerance)
        for array, wanted in zip(weights, other_weights, strict=True):
            np.testing.assert_allclose(array, wanted, rtol=tolerance, atol=tolerance)


def initial_student(parent, block, method, seed=0):
    initializer = METHODS[method].initializer
    return surgery.compress(parent, block, initializer=initializer, seed=seed)


def moved(before, after):
    """Names of the variables of the second model that differ from the first's."""
    names = {}
    for layer in after.layers:
        olds = before.get_layer(layer.name).get_weights()
        for variable, old in zip(layer.weights, olds, strict=True):
            if not np.array_equal(old, variable.numpy()):
                names.setdefault(layer.name, set()).add(variable.name)
    return names


def test_which_variables_move(toy_dataset, small_settings, tmp_path):
    parent = toy_parent()
    frozen = parent.get_weights()
    # A learning rate at which three epochs keep moving what may move.
    settings = small_settings(epochs=3, learning_rate=0.01)
    bench = retraining(parent, toy_dataset, settings, 0, tmp_path, memory=GIB)
    block = bench.block
    # In an order in which each comes after one that moved more, or elsewhere.
    for method in ("cm_rw", "cl_rw", "cm_mw", "cl_mw", "stn_cm", "stn"):
        start = initial_student(parent, block, method)
        bench.run(method, 0, new_journal())
        changed = moved(start, bench.student)
        statistics = {"gamma", "beta", "moving_mean", "moving_variance"}
        convolution, batchnorm, _ = block.compressed_layers
        assert changed[convolution] == {"kernel", "bias"}
        assert changed[batchnorm] == statistics
        others = {name: names for name, names in changed.items() if "compressed" not in name}
        if METHODS[method].updates == "block":
            assert others == {}
        else:
            # Everything with weights, moving statistics included.
            assert set(others) == {
                layer.name
                for layer in parent.layers
                if layer.weights and layer.name not in block.layers
            }
            assert others["b2_bn1"] == statistics
            assert others["logits"] == {"kernel", "bias"}
    for was, now in zip(frozen, parent.get_weights(), strict=True):
        np.testing.assert_array_equal(was, now)


def test_phases_and_records(toy_dataset, small_settings):
    settings = small_settings(epochs=2, distill_epochs=3)
    bench = retraining(toy_parent(), toy_dataset, settings)
    for method, row in METHODS.items():
        records, trained, _ = run(bench, method)
        phases = ["distill"] * 3 * row.student_teacher + ["train"] * 2
        assert [record.phase for record in records] == phases
        assert [record.epoch for record in records] == [1, 2, 3] * row.student_teacher + [1, 2]
        assert (trained.distilled_accuracy is not None) == row.student_teacher
        for record in records:
            assert record.seconds > 0
            if record.phase == "train":
                # Ten test images: every accuracy is a tenth.
                assert record.val_accuracy in [n / 10 for n in range(11)]
                assert record.relative_error is None
            else:
                assert record.accuracy is record.val_accuracy is record.val_loss is None
                assert record.relative_error > 0


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("block", "methods"), [(0, ("cl_mw", "stn")), (1, tuple(METHODS))])
def test_kept_activations_change_nothing(block, methods, toy_dataset, small_settings, tmp_path):
    parent, settings = toy_parent(), small_settings()
    fed = retraining(parent, toy_dataset, settings, block)
    # In memory, in files, and with room for what is received but not for targets.
    received = 37 * 4 * 4 * 3 * 8
    places = ({"memory": GIB}, {"disk": GIB}, {"memory": received})
    kept = [
        retraining(parent, toy_dataset, settings, block, tmp_path, **limits)
        for limits in places
    ]
    for method in methods:
        expected = run(fed, method)
        for bench in kept[: None if METHODS[method].student_teacher else 1]:
            assert_same(run(bench, method), expected, tolerance=1e-8)


def with_dropout(parent):
    """The same with dropout before its last layer: a state that moves with every step."""
    inputs, (*_, dense, logits) = parent.inputs, parent.layers
    tensor = keras.layers.Dropout(0.5, seed=3)(dense.output)
    return keras.Model(inputs, logits(tensor))


def test_a_trial_depends_on_nothing_that_ran_before(toy_dataset, small_settings, tmp_path):
    parent, settings = with_dropout(toy_parent()), small_settings(learning_rate=0.01)
    used = retraining(parent, toy_dataset, settings, 1, tmp_path, memory=GIB)
    first = {method: run(used, method, seed=4) for method in METHODS}
    for method in ("stn_cm", "cl_rw", "cm_mw"):
        assert_same(run(used, method, seed=4), first[method], tolerance=1e-6)
    fresh = retraining(parent, toy_dataset, settings, 1, tmp_path, memory=GIB)
    assert_same(run(fresh, "stn", seed=4), first["stn"], tolerance=1e-6)
    losses = [run(used, "cl_rw", seed)[0][0].loss for seed in (4, 5)]
    assert losses[0] != losses[1]


@pytest.mark.usefixtures("float64")
def test_the_order_in_which_phases_are_made_does_not_matter(
    toy_dataset, small_settings, tmp_path
):
    """A phase opens its layers to training when it is entered, not when it is made."""
    parent, settings = toy_parent(), small_settings(learning_rate=0.01)
    orders = (
        ("_of_block", "_of_model", "_of_pair"),
        ("_of_pair", "_of_block", "_of_model"),
        ("_of_model", "_of_pair", "_of_block"),
    )
    methods, results = ("stn_cm", "cl_rw"), []
    for order in orders:
        bench = retraining(parent, toy_dataset, settings, 1, tmp_path, memory=GIB)
        for phase in order:
            getattr(bench, phase)
        results.append([run(bench, method) for method in methods])
    for other in results[1:]:
        for found, expected in zip(other, results[0], strict=True):
            assert_same(found, expected, tolerance=1e-12)


def test_no_step_is_traced_again(toy_dataset, small_settings, tmp_path, monkeypatch):
    traces = []

    def counting(kind, name):
        step = getattr(kind, name)

        def counted(self, data):
            traces.append(name)
            return step(self, data)

        monkeypatch.setattr(kind, name, counted)

    counting(StudentTeacher, "train_step")
    counting(Classifier, "train_step")
    counting(Classifier, "test_step")
    settings = small_settings(epochs=3)
    bench = retraining(toy_parent(), toy_dataset, settings, 1, tmp_path, memory=GIB)
    for method in METHODS:
        run(bench, method)
    # Compressed block, whole model without and with a teacher, all three evaluated as well;
    # block and teacher.
    assert sorted(traces) == ["test_step"] * 3 + ["train_step"] * 4
    for method in METHODS:
        run(bench, method, seed=1)
    assert len(traces) == 7


@pytest.mark.parametrize(("method", "block", "rate"), [("cm_rw", 0, 0.03), ("cl_rw", 1, 0.1)])
def test_student_is_left_at_its_best_epoch(method, block, rate, toy_dataset, small_settings):
    settings = small_settings(epochs=6, learning_rate=rate)
    bench = retraining(toy_parent(), toy_dataset, settings, block)
    records, trained, _ = run(bench, method)
    accuracies = [record.val_accuracy for record in records]
    assert max(accuracies) > accuracies[-1]  # else the last would pass for the best
    assert independent_accuracy(trained.model, toy_dataset.test) == max(accuracies)


def test_what_lies_between_the_phases(toy_dataset, small_settings, monkeypatch):
    # Where the classification optimiser is another, distillation keeps Adam and its own rate.
    settings = small_settings(epochs=1, distill_epochs=2, optimizer="sgd", learning_rate=0.5)
    bench = retraining(toy_parent(), toy_dataset, settings)
    fit, seen = training.fit, {}

    def look(learner, train, settings, schedule, *rest):
        if schedule.phase == "distill":
            return fit(learner, train, settings, schedule, *rest)
        seen["accuracy"] = independent_accuracy(bench.student, toy_dataset.test)
        seen["weights"] = bench.student.get_weights()
        optimizer = learner.optimizer
        seen["steps"] = int(optimizer.iterations)
        seen["classifier"] = (type(optimizer), float(optimizer.learning_rate))
        return fit(learner, train, settings, schedule, *rest)

    monkeypatch.setattr(training, "fit", look)
    for _ in range(2):
        _, trained, _ = run(bench, "stn", seed=4)
        start = initial_student(bench.parent, bench.block, "stn", seed=4)
        assert trained.initial_accuracy == independent_accuracy(start, toy_dataset.test)
        assert trained.distilled_accuracy == seen["accuracy"]
        assert any(
            not np.array_equal(was, now)
            for was, now in zip(start.get_weights(), seen["weights"], strict=True)
        )
        assert seen["steps"] == 0
        kind, rate = seen["classifier"]
        assert issubclass(kind, keras.optimizers.SGD)
        assert rate == 0.5
        distiller = bench._of_pair.learner.optimizer
        assert isinstance(distiller, keras.optimizers.Adam)
        assert float(distiller.learning_rate) == pytest.approx(1e-3)
        assert int(distiller.iterations) == 2 * 4  # 27 images in batches of 8, two epochs


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
def test_half_precision_trains_and_restarts(policy, toy_dataset, small_settings, tmp_path):
    with dtype_policy(policy):
        parent = toy_parent()
        bench = retraining(parent, toy_dataset, small_settings(), 1, tmp_path, memory=GIB)
        half = policy.removeprefix("mixed_")
        assert tf.as_dtype(bench.source.train.dtype).name == half  # as computed, not rounded
        first = run(bench, "stn_cm")
        assert all(np.isfinite(record.loss) for record in first[0])
        assert_same(run(bench, "stn_cm"), first, tolerance=1e-6)


def test_what_is_kept_in_half_precision_trains_a_float32_network(
    toy_dataset, small_settings, tmp_path
):
    parent = toy_parent()

    def distilled(dtype):
        settings = small_settings(activation_dtype=dtype)
        bench = retraining(parent, toy_dataset, settings, 1, tmp_path, memory=GIB)
        return bench.source, *run(bench, "stn")

    source, rounded, _, weights = distilled("float16")
    assert source.train.dtype == source.targets.dtype == np.float16
    _, exact, *_ = distilled("exact")
    assert all(array.dtype == np.float32 for array in weights)
    # Rounded to 11 bits, and not the same.
    np.testing.assert_allclose(rounded[0].loss, exact[0].loss, rtol=1e-2)
    assert rounded[0].loss != exact[0].loss


def test_a_loss_that_is_not_finite_stops_the_trial_and_not_the_next(
    toy_dataset, small_settings, monkeypatch
):
    settings = small_settings(epochs=4)
    bench = retraining(toy_parent(), toy_dataset, settings, 0)
    expected = run(bench, "cm_rw")
    records = []
    initialize = surgery.initialize

    def poisoned(student, *rest, **more):
        initialize(student, *rest, **more)
        student.get_layer("logits").kernel.assign([[np.nan] * 3] * 6)

    with monkeypatch.context() as patched:
        patched.setattr(surgery, "initialize", poisoned)
        with pytest.raises(TrainingFailed, match="loss is nan after train epoch 1"):
            bench.run("cm_rw", 0, new_journal(records.append))
    assert records == []
    assert_same(run(bench, "cm_rw"), expected, tolerance=1e-6)


def test_a_distillation_that_is_not_finite_stops_the_trial(
    toy_dataset, small_settings, monkeypatch
):
    monkeypatch.setattr("deep_net_triage.commands.settings.DISTILL_LEARNING_RATE", float("inf"))
    bench = retraining(toy_parent(), toy_dataset, small_settings(), 0)
    with pytest.raises(TrainingFailed, match="loss is (nan|inf) after distill epoch 1"):
        bench.run("stn", 0, new_journal())


def test_the_compressed_block_has_its_own_rate_within_the_whole_model(
    toy_dataset, small_settings
):
    rates = {"retrain_learning_rate": 1e-9, "layer_learning_rate": 0.1}
    bench = retraining(toy_parent(), toy_dataset, small_settings(optimizer="sgd", **rates))
    start = initial_student(bench.parent, bench.block, "cm_rw", seed=0)
    model = bench.run("cm_rw", 0, new_journal()).model
    compressed = set(bench.block.compressed_layers)
    for layer in model.layers:
        for weight in layer.trainable_weights:
            before = {w.path: w for w in start.get_layer(layer.name).weights}[weight.path]
            moved = float(keras.ops.max(keras.ops.abs(weight - before)))
            if layer.name not in compressed:
                assert moved < 1e-5, weight.path
            elif weight.name == "kernel":
                assert moved > 1e-3
