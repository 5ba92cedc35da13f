import keras
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import graphs
from deep_net_triage.network.logits import returns_logits

layers, ops = keras.layers, keras.ops


def model(*steps, shape=(4, 4, 2)):
    x = images = keras.Input(shape)
    for step in steps:
        x = step(x)
    return keras.Model(images, x)


def conv(**settings):
    return layers.Conv2D(3, 4, name="head", **settings)  # of 4 x 4 pixels it makes one


def dense(activation=None):
    return layers.Dense(3, activation=activation, name="head")


@pytest.mark.parametrize(
    "steps",
    [
        [layers.Flatten(), dense("softmax")],
        [conv(activation="softmax"), layers.Flatten()],
        [conv(activation="softmax"), layers.Reshape((3,))],
        [conv(activation="softmax"), layers.GlobalMaxPooling2D()],
        [conv(activation="softmax"), lambda x: x[:, 0, 0, :]],
        [conv(activation="softmax"), lambda x: keras.ops.squeeze(x, (1, 2))],
        # The mean over the pixels still sums to 1.
        [layers.Conv2D(3, 1, activation="softmax"), layers.GlobalAveragePooling2D()],
        [layers.Flatten(), dense(), layers.Softmax(dtype="float32")],
        [conv(), layers.Softmax(axis=(1, 2, 3)), layers.Flatten()],
        [layers.Flatten(), dense(), layers.Activation("softmax"), layers.Dropout(0.1)],
        [layers.Flatten(), dense(), keras.ops.softmax],
        [layers.Flatten(), dense(), keras.activations.softmax],
        [layers.Flatten(), layers.Dense(3, activation=layers.Softmax())],
        [layers.Flatten(), dense("softmax"), lambda x: keras.ops.cast(x, "float16")],
        [layers.Flatten(), layers.SpectralNormalization(dense("softmax"))],
        [conv(), layers.TimeDistributed(layers.Softmax(axis=2)), layers.Flatten()],
        [layers.Flatten(), dense("softmax"), layers.Activation("linear")],
        [layers.Flatten(), lambda x: layers.Average()([dense("softmax")(x)] * 2)],
    ],
)
def test_probabilities(steps):
    assert returns_logits(model(*steps)) is False


@pytest.mark.parametrize(
    "steps",
    [
        [layers.Flatten(), dense()],
        [layers.Flatten(), dense(), layers.Activation("linear", dtype="float32")],
        [conv(), layers.Flatten()],
        [conv(activation="relu"), layers.GlobalAveragePooling2D()],
        [layers.Flatten(), dense("log_softmax")],
        [layers.Flatten(), layers.SpectralNormalization(dense())],
        [layers.Flatten(), dense("softmax"), keras.ops.log],
        # A squashing function inside the network, and logits that are capped at 30.
        [layers.Conv2D(3, 1, activation="sigmoid"), layers.Flatten(), dense()],
        [layers.Flatten(), dense("tanh"), layers.Rescaling(30.0)],
        # The larger of two numbers for each class.
        [layers.Flatten(), layers.Dense(6), lambda x: ops.maximum(*ops.split(x, 2, -1))],
        [
            layers.Flatten(),
            lambda x: layers.Multiply()([dense()(x), layers.Dense(3, activation="sigmoid")(x)]),
        ],
    ],
)
def test_logits(steps):
    assert returns_logits(model(*steps)) is True


@pytest.mark.parametrize(
    ("steps", "reason"),
    [
        ([layers.Flatten(), dense("sigmoid")], "head applies sigmoid, not a softmax"),
        ([layers.Flatten(), dense(), keras.ops.sigmoid], "applies sigmoid, not a softmax"),
        ([layers.Flatten(), dense("hard_sigmoid")], "head applies hardsigmoid"),
        ([conv(activation="tanh"), layers.Flatten()], "head applies tanh, not a softmax"),
        (
            [conv(), layers.Softmax(axis=1, name="s"), layers.Flatten()],
            "s takes the softmax of",
        ),
        (
            [
                conv(),
                layers.TimeDistributed(layers.Softmax(axis=1), name="s"),
                layers.Flatten(),
            ],
            "s takes the softmax of 1 values for 3 classes",  # of the columns
        ),
        (
            [layers.Conv2D(3, 1, activation="softmax", name="head"), layers.Flatten()],
            "head takes the softmax of 3 values for 48 classes",
        ),
        (
            [layers.Flatten(), dense("softmax"), layers.Rescaling(2.0, name="twice")],
            "twice changes the probabilities that head returns",
        ),
        (
            [
                layers.Conv2D(3, 1, activation="softmax", name="head"),
                layers.GlobalMaxPooling2D(name="largest"),
            ],
            "largest changes the probabilities that head returns",
        ),
        (
            [
                layers.Flatten(),
                lambda x: layers.Average(name="mean")(
                    [dense("softmax")(x), layers.Dense(3)(x)]
                ),
            ],
            "mean mixes logits with probabilities",
        ),
    ],
)
def test_what_is_neither_is_refused_by_name(steps, reason):
    with pytest.raises(InputError, match=f"{reason}.*allowed: logits, or one softmax"):
        returns_logits(model(*steps))


def test_sequential_models():
    def sequential(*head):
        return keras.Sequential([keras.Input((4, 4, 2)), layers.Flatten(), *head])

    assert returns_logits(sequential(layers.Dense(3), layers.Softmax())) is False
    assert returns_logits(sequential(layers.Dense(3))) is True


@pytest.mark.parametrize("activation", ["softmax", None])
def test_the_end_of_a_network_returns_what_the_network_does(activation):
    here = layers.ZeroPadding2D(0, name="here")
    whole = model(here, conv(activation=activation), layers.Flatten(), layers.Dropout(0.1))
    end = graphs.cut(whole, whole.get_layer("here").output, whole.outputs[0])
    assert returns_logits(end) is (activation is None)
