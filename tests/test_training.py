import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy.special import log_softmax

from deep_net_triage.errors import InputError, TrainingFailed
from deep_net_triage.learning import batches, training, whole_network
from tests.conftest import new_journal
from tests.toys import compiled, dtype_policy, examples, toy_parent


def independent_accuracy(model, split):
    predicted = model.predict(split.images.numpy(), verbose=0).argmax(axis=1)
    return np.mean(predicted == split.labels.numpy())


def evaluate(learner, split):
    return training.evaluate(learner, split.images, split.labels, batch_size=4)


def test_evaluate_counts_every_image_once(toy_dataset, small_settings):
    parent = toy_parent()
    learner = compiled(parent, small_settings())
    loss, accuracy = evaluate(learner, toy_dataset.test)
    logits = parent.predict(toy_dataset.test.images.numpy(), verbose=0).astype(float)
    labels = toy_dataset.test.labels.numpy()
    shifted = logits - logits.max(axis=1, keepdims=True)
    log_likelihood = shifted - np.log(np.exp(shifted).sum(axis=1, keepdims=True))
    assert accuracy == np.mean(logits.argmax(axis=1) == labels)
    np.testing.assert_allclose(loss, -log_likelihood[range(10), labels].mean(), rtol=1e-4)


def test_a_parent_that_ends_in_softmax_has_the_loss_of_its_logits(toy_dataset, small_settings):
    logits = toy_parent()
    probabilities = toy_parent()
    probabilities.layers[-1].activation = keras.activations.softmax
    losses = []
    for model in (logits, probabilities):
        learner = compiled(model, small_settings())
        # In reach of both: Keras clips probabilities at 1e-7.
        dense = model.layers[-1]
        dense.set_weights([weights / 100 for weights in dense.get_weights()])
        losses.append(evaluate(learner, toy_dataset.test)[0])
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-4)


def ending_in(end, scale=1):
    """A network with a dense layer as a convolution of all pixels, before a given end."""
    keras.utils.set_random_seed(4)
    images = keras.Input((8, 8, 2))
    scaled = keras.layers.Rescaling(1 / 255)(images)
    convolution = keras.layers.Conv2D(3, 8, name="convolution")
    model = keras.Model(images, end(convolution(scaled)))
    convolution.kernel.assign(scale * convolution.kernel)
    return model


def softmax_then_flatten(tensor):
    return keras.layers.Flatten()(keras.layers.Activation("softmax")(tensor))


@pytest.mark.usefixtures("float64")
def test_a_softmax_before_flatten_has_the_loss_of_its_logits(toy_dataset, small_settings):
    """Also far below 1e-7, where Keras clips probabilities."""
    probabilities = ending_in(softmax_then_flatten, scale=40)
    logits = ending_in(keras.layers.Flatten(), scale=40)
    settings = small_settings(optimizer="sgd", learning_rate=0.01, epochs=1)
    learner = compiled(probabilities, settings)
    loss, accuracy = evaluate(learner, toy_dataset.test)
    returned, labels = (
        logits.predict(toy_dataset.test.images, verbose=0),
        toy_dataset.test.labels.numpy(),
    )
    shifted = returned - returned.max(axis=1, keepdims=True)
    losses = np.log(np.exp(shifted).sum(axis=1)) - shifted[range(10), labels]
    assert losses.max() > 16.2  # -log(1e-7) is 16.12
    np.testing.assert_allclose(loss, losses.mean(), rtol=1e-6)
    assert accuracy == np.mean(returned.argmax(axis=1) == labels)
    # Its gradients are those of the logits as well.
    train = examples(toy_dataset.train)
    for each in (learner, compiled(logits, settings)):
        schedule = training.Schedule("train", epochs=1, seed=5)
        training.fit(each, train, settings, schedule, new_journal())
    for found, wanted in zip(probabilities.get_weights(), logits.get_weights(), strict=True):
        np.testing.assert_allclose(found, wanted, rtol=1e-6, atol=1e-9)


# In reach of bfloat16, and where plain Keras clips: it loses the logits with the dtype.
@pytest.mark.parametrize("scale", [3, 100])
def test_a_softmax_layer_in_bfloat16_has_the_loss_of_its_logits(
    scale, toy_dataset, small_settings
):
    with dtype_policy("mixed_bfloat16"):
        model = ending_in(
            lambda tensor: keras.layers.Softmax()(keras.layers.Flatten()(tensor)), scale
        )
        test = toy_dataset.test
        loss, _ = evaluate(compiled(model, small_settings()), test)
        flattened = keras.Model(model.inputs, model.layers[-2].output)
        logits = keras.ops.cast(flattened(test.images), "float32").numpy()
        own = log_softmax(logits.astype(np.float64), axis=1)[range(10), test.labels.numpy()]
        np.testing.assert_allclose(loss, -own.mean(), rtol=1e-5)
        model.compile(loss=keras.losses.SparseCategoricalCrossentropy(), jit_compile=False)
        plain = model.evaluate(test.images, test.labels, verbose=0)
        assert (abs(loss - plain) < 0.002 * plain) == (scale == 3)


@pytest.mark.parametrize("policy", ["float32", "mixed_bfloat16", "mixed_float16"])
def test_a_softmax_that_is_far_off_has_a_loss_and_a_gradient(policy, small_settings):
    """By hand: logits 0, 40 and 0 for the first class lose 40, with gradients -1, 1 and 0."""
    with dtype_policy(policy):
        images = keras.Input((3,))
        dense = keras.layers.Dense(3, activation="softmax", use_bias=False)
        learner = compiled(keras.Model(images, dense(images)), small_settings())
        dense.kernel.assign(np.diag([0.0, 40.0, 0.0]))
        with tf.GradientTape() as tape:
            returned = learner.network(tf.ones((1, 3)))
            (loss,) = learner.cross_entropies(returned, tf.constant([0]))
        gradient = tape.gradient(loss, dense.kernel.value)
        assert float(loss) == pytest.approx(40)
        np.testing.assert_allclose(gradient, np.tile([-1.0, 1.0, 0.0], (3, 1)), atol=1e-6)


@pytest.mark.parametrize(
    ("of_layers", "of_policy", "scales"),
    [
        ("mixed_float16", "float32", True),
        ("mixed_float16", "mixed_float16", True),
        ("float32", "float32", False),
        ("mixed_bfloat16", "float32", False),
    ],
)
def test_the_loss_is_scaled_once_for_a_network_in_float16(
    of_layers, of_policy, scales, small_settings
):
    """A given parent's layers keep the policy that they were saved with."""
    with dtype_policy(of_layers):
        images = keras.Input((3,))
        network = keras.Model(images, keras.layers.Dense(3)(images))
    with dtype_policy(of_policy):
        optimizer = compiled(network, small_settings()).optimizer
    kind = keras.optimizers.LossScaleOptimizer
    assert isinstance(optimizer, kind) == scales
    assert not isinstance(getattr(optimizer, "inner_optimizer", None), kind)


def test_evaluation_reads_inputs_as_precisely_as_the_network_does(small_settings):
    """The network computes in float32, under a policy of half precision."""
    images = keras.Input((1,))
    dense = keras.layers.Dense(2, use_bias=False)
    network = keras.Model(images, dense(images))
    dense.kernel.assign([[1000.0, 0.0]])
    fine = np.float32([[1 + 2**-10]])  # bfloat16 rounds it to 1
    with dtype_policy("mixed_bfloat16"):
        learner = compiled(network, small_settings())
        loss, _ = training.evaluate(learner, tf.constant(fine), tf.constant([1]), 1)
    assert loss == pytest.approx(1000 + 1000 / 2**10, abs=0.01)


@pytest.mark.parametrize("replicas", [1, 2])
def test_replicas_share_the_statistics_of_a_batch_in_a_network_that_was_loaded(
    replicas, toy_dataset, small_settings, monkeypatch
):
    """Loaded and copied networks have batch norms that are not synchronized."""
    monkeypatch.setattr(whole_network.devices, "replicas", lambda: replicas)
    network = toy_parent()
    whole_network.learner_of_parent(network, toy_dataset, small_settings())
    found = [one for one in network.layers if isinstance(one, keras.layers.BatchNormalization)]
    assert found
    assert {one.synchronized for one in found} == {replicas == 2}


class WithSpare(keras.layers.Layer):
    """A layer with a weight that its output does not depend on."""

    def build(self, shape):
        self.spare = self.add_weight(shape=(2,), name="spare")

    def call(self, inputs):
        return 2 * inputs


@pytest.mark.parametrize("clip", [{}, {"clip_norm": 1.0}])
def test_a_weight_without_a_gradient_stays_as_it_is(clip, toy_dataset, small_settings):
    layer = WithSpare()
    network = ending_in(lambda tensor: layer(keras.layers.Flatten()(tensor)))
    before = [weights.copy() for weights in network.get_weights()]
    settings = small_settings(parent_epochs=1, **clip)
    whole_network.train_parent(network, toy_dataset, settings, new_journal())
    kept = [np.array_equal(*pair) for pair in zip(before, network.get_weights(), strict=True)]
    names = [weight.name for weight in network.weights]
    assert dict(zip(names, kept, strict=True)) == {
        "kernel": False,
        "bias": False,
        "spare": True,
    }


def test_sigmoids_are_refused(small_settings):
    model = ending_in(lambda tensor: keras.layers.Flatten()(keras.activations.sigmoid(tensor)))
    with pytest.raises(InputError, match="sigmoid, not a softmax; allowed") as refusal:
        compiled(model, small_settings())
    assert "\n" not in str(refusal.value)


def test_parent_is_trained_and_left_at_its_best_epoch(toy_dataset, small_settings):
    parent = toy_parent()
    before = parent.get_weights()
    records = []
    whole_network.train_parent(
        parent,
        toy_dataset,
        small_settings(parent_epochs=5, learning_rate=0.01),
        new_journal(records.append),
    )
    assert len(records) == 5
    assert independent_accuracy(parent, toy_dataset.test) == max(
        record.val_accuracy for record in records
    )
    assert all(
        not np.array_equal(was, now)
        for was, now in zip(before, parent.get_weights(), strict=True)
    )


def test_optimizer_and_rate_are_those_asked_for(small_settings):
    learner = compiled(toy_parent(), small_settings(optimizer="sgd", learning_rate=0.25))
    assert isinstance(learner.optimizer, keras.optimizers.SGD)
    assert float(learner.optimizer.learning_rate) == 0.25


def test_a_loss_that_is_not_finite_stops_the_training(toy_dataset, small_settings):
    records = []
    settings = small_settings(parent_epochs=4, learning_rate=1e30, optimizer="sgd")
    with pytest.raises(TrainingFailed, match=r"loss is (nan|inf) after train epoch \d"):
        whole_network.train_parent(
            toy_parent(), toy_dataset, settings, new_journal(records.append)
        )
    assert len(records) < 4


@pytest.mark.usefixtures("float64")
def test_a_step_is_that_of_keras_with_a_networks_own_weight_decay(toy_dataset, small_settings):
    """Also of the last batch, which holds three images of 27."""

    def network():
        keras.utils.set_random_seed(4)
        decay = keras.regularizers.L2(0.1)
        layers = [
            keras.Input((8, 8, 2)),
            keras.layers.Rescaling(1 / 255),
            keras.layers.Flatten(),
            keras.layers.Dense(3, kernel_regularizer=decay, name="logits"),
        ]
        return keras.Sequential(layers)

    ours, plain = network(), network()
    settings = small_settings(optimizer="sgd", learning_rate=0.5, epochs=1)
    train = toy_dataset.train
    training.fit(
        compiled(ours, settings),
        examples(train),
        settings,
        training.Schedule("train", epochs=1, seed=5),
        new_journal(),
    )
    plain.compile(
        keras.optimizers.SGD(0.5), keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    )
    made = batches.training_batches(examples(train), batch_size=8, seed=5, epochs=range(1))
    plain.fit(made, shuffle=False, verbose=0)
    for found, expected in zip(ours.get_weights(), plain.get_weights(), strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)


def flat_network():
    """Three logits, straight from the pixels."""
    keras.utils.set_random_seed(4)
    layers = [keras.layers.Rescaling(1 / 255), keras.layers.Flatten(), keras.layers.Dense(3)]
    model = keras.Sequential([keras.Input((8, 8, 2)), *layers])
    return keras.Model(model.inputs, model.outputs)


@pytest.mark.usefixtures("float64")
def test_smoothed_labels_against_numpy(toy_dataset, small_settings):
    """Half of each label is spread over three classes: 2/3, 1/6, 1/6."""
    network, train = flat_network(), toy_dataset.train
    learner = compiled(network, small_settings(label_smoothing=0.5))
    logits = network.predict(train.images, verbose=0)
    logs = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    targets = np.full((27, 3), 1 / 6)
    targets[range(27), train.labels.numpy()] = 2 / 3
    found = learner.per_image_losses(train.images, train.labels, None)
    np.testing.assert_allclose(found, -(targets * logs).sum(axis=1), rtol=1e-10)
    # What is reported of the test images is the plain cross-entropy.
    loss, _ = evaluate(learner, train)
    np.testing.assert_allclose(loss, -logs[range(27), train.labels.numpy()].mean(), rtol=1e-6)


@pytest.mark.usefixtures("float64")
@pytest.mark.parametrize(("limit", "is_clipped"), [(0.01, True), (100.0, False)])
def test_a_steps_gradient_is_no_longer_than_the_limit(
    limit, is_clipped, toy_dataset, small_settings
):
    flags = {"optimizer": "sgd", "learning_rate": 0.5, "batch_size": 27, "parent_epochs": 1}
    lengths = []
    for clip in ({}, {"clip_norm": limit}):
        network, settings = flat_network(), small_settings(**flags, **clip)
        before = np.concatenate([w.ravel() for w in network.get_weights()])
        whole_network.train_parent(network, toy_dataset, settings, new_journal())
        after = np.concatenate([w.ravel() for w in network.get_weights()])
        lengths.append(np.linalg.norm(after - before) / 0.5)
    free, clipped = lengths
    assert 0.02 < free < 100
    np.testing.assert_allclose(clipped, limit if is_clipped else free, rtol=1e-9)


def test_a_parent_whose_rate_falls_is_left_at_its_last_epoch(toy_dataset, small_settings):
    parent, records = toy_parent(), []
    settings = small_settings(parent_epochs=5, learning_rate=0.05, schedule="cosine")
    whole_network.train_parent(parent, toy_dataset, settings, new_journal(records.append))
    accuracies = [record.val_accuracy for record in records]
    assert accuracies[-1] != max(accuracies)  # else this shows nothing
    assert independent_accuracy(parent, toy_dataset.test) == accuracies[-1]


@pytest.mark.parametrize("schedule", ["constant", "cosine"])
def test_weights_are_copied_only_where_the_best_epoch_counts(
    schedule, toy_dataset, small_settings
):
    settings, parent = small_settings(parent_epochs=2, schedule=schedule), toy_parent()
    fitted = training.fit(
        compiled(parent, settings),
        examples(toy_dataset.train),
        settings,
        training.Schedule("train", epochs=2, seed=0),
        new_journal(),
        training.Evaluation((toy_dataset.test.images, toy_dataset.test.labels), None),
    )
    assert len(fitted.best) == (len(parent.weights) if schedule == "constant" else 0)


def test_a_parent_that_no_longer_improves_is_trained_no_further(toy_dataset, small_settings):
    records = []
    # A rate at which nothing moves: the first epoch is the best.
    settings = small_settings(parent_epochs=9, learning_rate=1e-12, parent_patience=3)
    journal = new_journal(records.append)
    whole_network.train_parent(toy_parent(), toy_dataset, settings, journal)
    assert [record.epoch for record in records] == [1, 2, 3, 4]
    whole_network.train_parent(toy_parent(), toy_dataset, settings, journal)  # as after a kill
    assert len(records) == 4


def test_the_parents_seed_draws_another_order(toy_dataset, small_settings):
    losses = []
    for seed in (0, 0, 1):
        records = []
        settings = small_settings(parent_epochs=1, parent_seed=seed, batch_size=4)
        whole_network.train_parent(
            toy_parent(), toy_dataset, settings, new_journal(records.append)
        )
        losses.append(records[0].loss)
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert abs(losses[2] - losses[0]) > 1e-4
