"""Layers of newer networks in a block: found, compressed, retrained, and loaded by Keras."""

import subprocess
import sys

import keras
import numpy as np
import pytest

import deep_net_triage as dnt
from deep_net_triage.commands.settings import GIB
from deep_net_triage.errors import InputError
from deep_net_triage.network import blocks, costs, flattening, graphs, pruning, surgery
from deep_net_triage.network.blocks import find_blocks
from deep_net_triage.network.descriptions import Refused
from deep_net_triage.records import models
from tests import studies
from tests.test_retraining import retraining, run
from tests.toys import dtype_policy

layers, ops = keras.layers, keras.ops


def network(unit, policy="float32"):
    """A stem and a unit before a pooling, and a unit behind it."""
    keras.utils.set_random_seed(0)
    with dtype_policy(policy):
        x = images = keras.Input((8, 8, 2), name="image")
        x = layers.Conv2D(8, 3, padding="same", name="stem")(x)
        x = layers.MaxPooling2D(name="pool")(unit(x, "a"))
        x = unit(layers.Conv2D(8, 3, padding="same", name="middle")(x), "b")
        x = layers.GlobalAveragePooling2D(name="average")(x)
        logits = layers.Dense(3, name="logits", dtype="float32")(x)
        return keras.Model(images, logits, name="toy")


def conv(name, **settings):
    return layers.Conv2D(8, 3, padding="same", name=name, **settings)


def squeeze_and_excite(x, n):
    x = layers.ReLU(name=f"{n}_relu")(conv(f"{n}_conv")(x))
    y = layers.GlobalAveragePooling2D(keepdims=True, name=f"{n}_squeeze")(x)
    y = layers.Conv2D(2, 1, activation="relu", name=f"{n}_reduce")(y)
    y = layers.Conv2D(8, 1, activation="sigmoid", name=f"{n}_expand")(y)
    return layers.Multiply(name=f"{n}_scale")([x, y])


def excite_by_dense_layers(x, n):
    y = layers.GlobalAveragePooling2D(name=f"{n}_squeeze")(x)
    y = layers.Dense(8, activation="sigmoid", name=f"{n}_dense")(y)
    y = layers.Reshape((1, 1, 8), name=f"{n}_reshape")(y)
    return layers.ReLU(name=f"{n}_relu")(
        conv(f"{n}_conv")(layers.Multiply(name=f"{n}_scale")([x, y]))
    )


def spatial_gate(x, n):
    """As in CBAM, of functions of `keras.ops`."""
    x = conv(f"{n}_conv")(x)
    gate = layers.Conv2D(1, 7, padding="same", name=f"{n}_gate")
    both = ops.concatenate([ops.mean(x, -1, keepdims=True), ops.max(x, -1, keepdims=True)], -1)
    return ops.multiply(x, ops.sigmoid(gate(both)))


def attention(x, n):
    side = x.shape[1]
    tokens = layers.Reshape((side**2, 8), name=f"{n}_tokens")(x)
    tokens = layers.MultiHeadAttention(1, 4, name=f"{n}_attention")(tokens, tokens)
    tokens = layers.Reshape((side, side, 8), name=f"{n}_map")(tokens)
    return conv(f"{n}_conv")(layers.Add(name=f"{n}_add")([x, tokens]))


def attention_by_keywords(x, n):
    side = x.shape[1]
    tokens = layers.Reshape((side**2, 8), name=f"{n}_tokens")(x)
    attention = layers.MultiHeadAttention(1, 4, name=f"{n}_attention")
    tokens = attention(query=tokens, value=tokens)
    tokens = layers.Reshape((side, side, 8), name=f"{n}_map")(tokens)
    return conv(f"{n}_conv")(layers.Add(name=f"{n}_add")([x, tokens]))


def split(x, n):
    """Half of the channels go around a convolution, as in ShuffleNet."""
    around, through = ops.split(conv(f"{n}_conv")(x), 2, axis=-1)
    through = layers.Conv2D(4, 3, padding="same", name=f"{n}_half")(through)
    x = layers.Concatenate(name=f"{n}_concatenate")([around, through])
    return layers.ReLU(name=f"{n}_relu")(x)


def dilated(x, n):
    return layers.ReLU(name=f"{n}_relu")(conv(f"{n}_conv", dilation_rate=2)(x))


def grouped(x, n):
    return layers.ReLU(name=f"{n}_relu")(conv(f"{n}_conv", groups=4)(x))


def convnext(x, n):
    y = layers.Conv2D(8, 7, padding="same", groups=8, name=f"{n}_depthwise")(x)
    y = layers.LayerNormalization(epsilon=1e-6, name=f"{n}_norm")(y)
    y = layers.Dense(16, activation="gelu", name=f"{n}_widen")(y)
    y = layers.Dense(8, name=f"{n}_project")(y)
    return layers.Add(name=f"{n}_add")([x, y])


def function(x, n):
    return keras.activations.gelu(conv(f"{n}_conv")(x), approximate=True)


def plain(x, n):
    x = layers.BatchNormalization(name=f"{n}_bn")(conv(f"{n}_conv")(x))
    return layers.ReLU(name=f"{n}_relu")(x)


# The convolutions of block1, and its activation.
CONSTRUCTS = {
    "squeeze_and_excite": (("stem", "a_conv", "a_reduce", "a_expand"), None),
    "excite_by_dense_layers": (("stem", "a_conv"), "a_relu"),
    "spatial_gate": (("stem", "a_conv", "a_gate"), None),
    "attention": (("stem", "a_conv"), None),
    "attention_by_keywords": (("stem", "a_conv"), None),
    "split": (("stem", "a_conv", "a_half"), "a_relu"),
    "dilated": (("stem", "a_conv"), "a_relu"),
    "grouped": (("stem", "a_conv"), "a_relu"),
    "convnext": (("stem", "a_depthwise"), None),
    "function": (("stem", "a_conv"), "gelu"),
    "mixed_bfloat16": (("stem", "a_conv"), "a_relu"),
    "mixed_float16": (("stem", "a_conv"), "a_relu"),
}
# Loads models where this package can't be imported, and writes what they return.
LOADING = """
import sys, numpy as np, keras
images = np.load(sys.argv[1])
for file in sys.argv[2:]:
    np.save(file + ".npy", keras.models.load_model(file)(images))
assert "deep_net_triage" not in sys.modules
"""


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder for a model of each construct, and what each returns for some images."""
    return tmp_path_factory.mktemp("constructs"), {}


def built(construct):
    if construct.startswith("mixed"):
        return network(plain, construct)
    return network(globals()[construct])


@pytest.mark.parametrize("construct", CONSTRUCTS)
def test_a_block_with_it_is_found_compressed_and_retrained(
    construct, toy_dataset, small_settings, saved, tmp_path
):
    parent = flattening.flat(built(construct))
    block = find_blocks(parent)[0]
    assert (block.convolutions, block.activation) == CONSTRUCTS[construct]
    assert block.pool == "pool"
    assert costs.uncounted(parent) == ()
    settings = small_settings(epochs=1, distill_epochs=1)
    bench = retraining(parent, toy_dataset, settings, 0, tmp_path, memory=GIB)
    for method in ("cl_rw", "stn"):
        records, trained, _ = run(bench, method)
        assert all(np.isfinite(record.loss) for record in records)
    folder, returned = saved
    models.save(trained.model, folder / f"{construct}.keras")
    images = toy_dataset.test.images.numpy().astype(np.float32)
    np.save(folder / "images.npy", images)
    returned[construct] = trained.model(images).numpy()


def test_plain_keras_loads_all_of_them(saved):
    folder, returned = saved
    assert returned, "run the whole file: the tests before this one save the models"
    files = [folder / f"{construct}.keras" for construct in returned]
    command = [sys.executable, "-I", "-c", LOADING, folder / "images.npy", *files]
    subprocess.run(list(map(str, command)), check=True, cwd=folder, timeout=200)
    for file, expected in zip(files, returned.values(), strict=True):
        np.testing.assert_allclose(np.load(f"{file}.npy"), expected, rtol=1e-2, atol=1e-2)


class Doubled(layers.Layer):
    def call(self, received):
        return 2 * received


class Halved(Doubled):
    pass


keras.saving.register_keras_serializable()(Halved)


def test_a_layer_whose_class_keras_does_not_find_is_refused():
    def unit(kind):
        return lambda x, n: kind(name=f"{n}_own")(conv(f"{n}_conv")(x))

    models.check_is_loadable(network(unit(Halved)))
    # Keras imports the module of a class; a class of a function or a notebook has none.
    Doubled.__module__ = "a notebook"
    with pytest.raises(InputError, match="a_own can't be loaded again .* its class Doubled"):
        models.check_is_loadable(network(unit(Doubled)))


def test_a_block_may_end_in_a_sum_without_a_layer(toy_dataset, small_settings, tmp_path):
    """The settled recipe compares the random filters' maps with those of the sum."""
    parent = network(lambda x, n: x + conv(f"{n}_conv")(x))
    block = find_blocks(parent)[0]
    assert block.layers[-1] not in [layer.name for layer in parent.layers]
    settings = small_settings(epochs=1, block_start="aligned")
    bench = retraining(parent, toy_dataset, settings, 0, tmp_path, memory=GIB)
    records, _, _ = run(bench, "cl_rw")
    assert len(records) == 1


NAMES = "celu elu gelu leaky_relu relu relu6 selu sigmoid silu softplus softsign tanh"
FUNCTIONS = [
    *(getattr(keras.activations, name) for name in NAMES.split()),
    *(getattr(ops, name) for name in (*NAMES.split(), "hard_silu")),
    lambda x: keras.activations.relu(x, negative_slope=0.1, max_value=6.0),
]


@pytest.mark.parametrize("function", FUNCTIONS)
def test_an_activation_may_be_a_function(function):
    """It ends the replacement as it ends the block, with the same arguments."""
    x = images = keras.Input((8, 8, 2))
    for name in ("first", "second"):
        x = function(conv(name)(x))
    returned = layers.MaxPooling2D()(x)
    model = keras.Model(images, layers.Dense(3)(layers.Flatten()(returned)))
    (block,) = find_blocks(model)
    student = surgery.compress(model, block, initializer="mean", seed=0)
    of_student = graphs.by_name(student)
    before = of_student[block.compressed_layers[1]].output
    values = 4 * np.random.default_rng(0).normal(size=(2, 8, 8, 2)).astype("float32")
    normalized, ended = keras.Model(student.inputs, [before, block.returned_by(student)])(
        values
    )
    expected = layers.MaxPooling2D()(function(normalized))
    np.testing.assert_allclose(ended, expected, rtol=1e-6)


def with_functions(function, filters=4):
    """Two blocks whose convolutions are activated by a function or by a layer."""
    x = images = keras.Input((8, 8, 2))
    for name in ("a1", "a2", "pool", "b1", "b2"):
        if name == "pool":
            x = layers.MaxPooling2D()(x)
        else:
            x = function(layers.Conv2D(filters, 3, padding="same", name=name)(x))
    return keras.Model(images, layers.Dense(3)(layers.GlobalAveragePooling2D()(x)))


@pytest.mark.parametrize("method", ["cm_rw", "stn_kd"])
def test_a_block_that_ends_in_a_function_is_trained_with_the_whole_model(
    method, toy_dataset, small_settings, tmp_path
):
    parent = with_functions(keras.activations.relu)
    settings = small_settings(epochs=1, layer_learning_rate=0.01)
    bench = retraining(parent, toy_dataset, settings, 0, tmp_path, memory=GIB)
    records, _, _ = run(bench, method)
    assert [record.phase for record in records][-1] == "train"


def test_channels_behind_a_function_are_pruned_as_those_behind_a_layer():
    costs_of = []
    for function in (keras.activations.relu, lambda x: layers.ReLU()(x)):
        model = with_functions(function, filters=8)
        pruned = pruning.pruned_to(model, find_blocks(model), costs.macs(model) // 2)
        costs_of.append(costs.macs(pruned))
    assert costs_of[0] == costs_of[1]


def test_where_no_block_is_found_a_named_one_may_be():
    """A function that clips is not known as an activation: blocks end in front of it."""
    x = images = keras.Input((8, 8, 2))
    for number in range(4):
        x = ops.clip(conv(f"c{number}")(x), 0, 6)
    model = keras.Model(images, layers.Dense(3)(layers.Flatten()(x)))
    for names in (None, ("1",)):
        with pytest.raises(InputError, match="no block found"):
            blocks.survey(model).select(names)
    (block,) = blocks.survey(model).select(("c0:c3",))
    assert block.convolutions == ("c0", "c1", "c2", "c3")
    assert "c3" not in [layer.name for layer in dnt.replace_block(model, "c0:c3").layers]


def test_spectral_normalization_excludes_methods_that_train_a_block_alone(tmp_path, capsys):
    """It changes its weights in training whatever is frozen."""
    keras.utils.set_random_seed(0)
    images = keras.Input((8, 8, 1))
    x = conv("a1")(conv("a0")(images))
    x = layers.MaxPooling2D()(x)
    y = layers.SpectralNormalization(conv("inner"), name="restless")(conv("b0")(x))
    x = layers.GlobalAveragePooling2D()(layers.Add()([x, conv("b1")(y)]))
    parent = tmp_path / "parent.keras"
    keras.Model(images, layers.Dense(10)(x)).save(parent)
    flags = (f"--parent={parent}", "--train_examples=60", "--epochs=1")
    assert studies.run(tmp_path / "runs", *flags, "--block=1", "--method=cl_rw") == 2
    assert "restless is a SpectralNormalization" in capsys.readouterr().err
    assert studies.run(tmp_path / "runs", *flags, "--block=1", "--method=cm_rw") == 0
    assert studies.run(tmp_path / "runs", *flags, "--block=2", "--method=cl_rw") == 0


def test_branches_that_do_not_fit_the_images_are_refused():
    images = keras.Input((None, None, 2))
    halved = layers.Conv2D(2, 3, strides=2, padding="same")(images)
    pooled = layers.MaxPooling2D(2)(images)
    x = layers.GlobalAveragePooling2D()(layers.Add()([halved, pooled]))
    model = keras.Model(images, x, name="forked")
    assert flattening.flat(model, (32, 32, 2)).name == "forked"
    with pytest.raises(InputError, match="forked does not take images of 33 x 33 x 2 "):
        flattening.flat(model, (33, 33, 2))


def test_a_dilated_convolution_that_trims_the_map_is_refused():
    x = images = keras.Input((16, 16, 3))
    x = conv("a")(x)
    x = layers.Conv2D(4, 3, dilation_rate=2, name="b")(x)
    model = keras.Model(images, layers.Flatten()(x))
    with pytest.raises(InputError, match="a to b: it turns 16 x 16 pixels into 12 x 12, which"):
        find_blocks(model)


@pytest.mark.parametrize(
    ("layer", "kind"),
    [
        (layers.Conv2DTranspose(8, 3, padding="same", name="odd"), "Conv2DTranspose"),
        (layers.SpectralNormalization(conv("inner"), name="odd"), "SpectralNormalization"),
        (layers.UpSampling2D(1, name="odd"), "UpSampling2D"),
    ],
)
def test_the_layer_in_front_of_which_a_segment_ends_is_named(layer, kind):
    model = network(lambda x, n: layer(x) if n == "a" else conv("b_conv")(x))
    (refused,) = blocks.survey(model).refused
    assert refused == Refused(
        "stem",
        "stem",
        "it has fewer than two convolutions, so replacing it saves nothing; "
        f"it stops before odd, a {kind}, which no block can hold",
    )
