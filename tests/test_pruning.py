import keras
import numpy as np
import pytest

from deep_net_triage.errors import InputError
from deep_net_triage.network import channels, costs, graphs, narrowing, pruning
from deep_net_triage.network.blocks import find_blocks, named
from tests.narrow import IMAGES, check_trains_and_loads, drawn, gated, residual, widths
from tests.toys import dtype_policy, toy_parent

layers = keras.layers
# The layers that lose the same filters, written down by hand.
TIES = {
    toy_parent: [["b1_conv1"], ["b1_conv2"], ["b2_conv1"], ["b2_conv2"], ["b2_conv3"]],
    residual: [["stem", "a2"], ["a1"], ["b1"], ["b2", "short", "c2"], ["c1"]],
    gated: [
        ["first"],
        ["second", "excite"],
        ["squeeze"],
        ["side"],
        ["separable"],
        ["grouped"],
        ["last"],
    ],
}
# Of these, each filter of the first half goes with one of the second.
HALVED = {"separable", "grouped"}
# Layers that have a bias or batch norm for each filter of another one, `n` for each.
FOLLOWERS = {"first": [("deep", 2)], "grouped": [("alone", 1)]}

BATCHNORMS = {f"b{b}_conv{n}": f"b{b}_bn{n}" for b in (1, 2) for n in (1, 2, 3)}


def whole_network(build):
    model = build()
    if build is gated:
        return model, (named(model, "first", "last"),)
    return model, find_blocks(model)


def norms(model, name):
    """The sum of absolute weights of each filter, or pair of filters."""
    layer = model.get_layer(name)
    kernel = getattr(layer, "pointwise_kernel", None)
    kernel = layer.kernel.numpy() if kernel is None else kernel.numpy()
    sums = np.abs(kernel).sum(axis=(0, 1, 2))
    return sums.reshape(2, -1).sum(axis=0) if name in HALVED else sums


def silence(model, name, filters):
    """Sets a layer's filters to return zero, behind their batch norm if they have one."""
    layer = model.get_layer(name)
    if name in HALVED:
        filters = [*filters, *(np.array(filters) + layer.output.shape[-1] // 2)]
    *kernels, bias = layer.get_weights()
    kernels[-1][..., filters], bias[filters] = 0, 0
    layer.set_weights([*kernels, bias])
    norm = graphs.by_name(model).get(BATCHNORMS.get(name, f"{name}_bn"))
    if norm is not None:
        gamma, beta, *moving = norm.get_weights()
        gamma[filters] = beta[filters] = 0
        norm.set_weights([gamma, beta, *moving])
    for follower, each in FOLLOWERS.get(name, []):
        kernel, bias = model.get_layer(follower).get_weights()
        for number in filters:
            bias[number * each : (number + 1) * each] = 0
        model.get_layer(follower).set_weights([kernel, bias])


@pytest.mark.parametrize("part", [0.8, 0.6, 0.3])
@pytest.mark.parametrize("build", TIES)
def test_pruned_is_the_original_with_its_weakest_filters_silent(build, part):
    model, blocks = whole_network(build)
    weights = [w.copy() for w in model.get_weights()]
    original = model.predict(IMAGES, verbose=0)
    target = int(part * costs.macs(model))
    pruned = pruning.pruned_to(model, blocks, target)
    assert costs.macs(pruned) <= target
    assert all(map(np.array_equal, weights, model.get_weights()))
    before, after, silenced = widths(model), widths(pruned), build()
    assert before["logits"] == after["logits"]
    shares = []
    for tied in TIES[build]:
        removed = {before[name] - after[name] for name in tied}
        assert len(removed) == 1
        count = removed.pop() // (2 if tied[0] in HALVED else 1)
        order = np.argsort(sum(norms(model, name) for name in tied))
        for name in tied:
            silence(silenced, name, list(order[:count]))
        shares.append((count, len(order)))
    assert sum(count for count, _ in shares) > 0
    # The same fraction of each, rounded down: one that explains all of them exists.
    assert max(count / of for count, of in shares) < min((c + 1) / of for c, of in shares)
    expected = silenced.predict(IMAGES, verbose=0)
    assert not np.allclose(expected, original, rtol=1e-3)
    np.testing.assert_allclose(
        pruned.predict(IMAGES, verbose=0), expected, rtol=1e-4, atol=1e-4 * abs(original).max()
    )


@pytest.mark.parametrize("build", TIES)
def test_arithmetic_counted_from_shapes_is_that_of_the_pruned_model(build):
    model, _ = whole_network(build)
    found = channels.of(model)
    generator = np.random.default_rng(0)
    kept = np.ones(found.count, bool)
    for group in found.groups:
        if not group.given:
            count = generator.integers(len(group.channels))
            kept[generator.choice(group.channels, count, replace=False)] = False
    assert not kept.all()
    narrow = narrowing.narrowed(model, found, kept, seed=0)
    assert narrowing.macs(model, found, kept) == costs.macs(narrow) < costs.macs(model)


@pytest.mark.parametrize(
    ("target", "left", "filters"),
    [
        (15090, 15090, [3, 3, 4, 4, 4]),  # all of it
        (15089, 12618, [3, 3, 3, 3, 3]),  # a quarter, of three filters none
        (12618, 12618, [3, 3, 3, 3, 3]),
        (12617, 8154, [2, 2, 3, 3, 3]),  # a third
        (2202, 2202, [1, 1, 1, 1, 1]),
    ],
)
def test_the_smallest_fraction_that_meets_the_target(parent, target, left, filters):
    pruned = pruning.pruned_to(parent, find_blocks(parent), target)
    assert costs.macs(pruned) == left
    assert list(widths(pruned).values()) == [*filters, 6, 3]


def test_too_low_a_target_says_how_far_pruning_goes(parent):
    blocks = find_blocks(parent)
    with pytest.raises(InputError, match="pruning block1, block2 of toy; allowed: 2,202 or mo"):
        pruning.pruned_to(parent, blocks, 2201)
    # The first convolution behind the block loses two thirds of its input.
    allowed = 1152 + 576 + 576 + 2 * 2304 + 96 + 18
    with pytest.raises(InputError, match=f"pruning block1 of toy; allowed: {allowed:,} or"):
        pruning.pruned_to(parent, blocks[:1], allowed - 1)
    pruned = pruning.pruned_to(parent, blocks[:1], allowed)
    assert list(widths(pruned).values()) == [1, 1, 4, 4, 4, 6, 3]


def test_filters_that_are_added_to_a_layer_outside_the_blocks_stay():
    model = residual()
    inside = named(model, "a1", "add_a")
    macs = costs.macs(model)
    pruned = pruning.pruned_to(model, [inside], macs - 5 * 2 * 64 * 9 * 6)
    changed = {name for name, n in widths(pruned).items() if n != widths(model)[name]}
    assert changed == {"a1"}
    assert widths(pruned)["a1"] == 1


def test_filters_that_are_added_to_the_images_stay():
    images = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, padding="same", name="free")(images)
    x = layers.Conv2D(2, 3, padding="same", name="tied")(x)
    model = drawn(images, layers.Add(name="sum")([x, images]), "sums")
    pruned = pruning.pruned_to(model, [named(model, "free", "sum")], 2500)
    assert widths(pruned) == {"free": 1, "tied": 2, "logits": 3}


def test_a_block_of_another_model_is_refused(parent):
    with pytest.raises(
        InputError, match="block1 is not a block of residual, which has no layer"
    ):
        pruning.pruned_to(residual(), find_blocks(parent)[:1], 1000)


@keras.saving.register_keras_serializable("test_pruning")
class Reversed(layers.Layer):
    def call(self, x):
        return x[..., ::-1]


def mixed_convolution(layer):
    """Two convolutions, the first of them before a layer that mixes channels."""
    images = keras.Input((8, 8, 2))
    x = layers.Conv2D(4, 3, padding="same", name="mixed")(images)
    x = layers.Conv2D(4, 3, padding="same", name="free")(layer(x))
    x = layers.Conv2D(2, 3, padding="same", name="last")(x)
    return drawn(images, x, "mixing")


@pytest.mark.parametrize(
    "layer",
    [
        lambda x: layers.LayerNormalization()(x),
        lambda x: layers.GroupNormalization(2)(x),
        lambda x: layers.Activation("softmax")(x),
        lambda x: layers.Softmax()(x),
        lambda x: Reversed()(x),
        lambda x: layers.Reshape((8, 8, 4))(layers.Reshape((8, 16, 2))(x)),
        lambda x: layers.BatchNormalization(axis=1)(x),
        lambda x: x * np.array([1.0, 2, 3, 4], np.float32),
    ],
)
def test_channels_that_are_mixed_stay(layer):
    model = mixed_convolution(layer)
    (block,) = (named(model, "free", "last"),)
    both = named(model, "mixed", "last")
    pruned = pruning.pruned_to(model, [both], costs.macs(model) - 1)
    assert widths(pruned) == {"mixed": 4, "free": 3, "last": 2, "logits": 3}
    with pytest.raises(InputError, match="can't be reached"):
        pruning.pruned_to(model, [both], 64 * 9 * (2 * 4 + 4 + 1) + 3 - 1)
    assert costs.macs(pruning.pruned_to(model, [block], 9000)) <= 9000


def test_pruned_models_train_and_load_and_keep_their_precision(tmp_path):
    with dtype_policy("mixed_bfloat16"):
        model = gated()
    block = named(model, "first", "last")
    pruned = pruning.pruned_to(model, [block], costs.macs(model) // 2)
    assert {layer.dtype_policy.name for layer in pruned.layers[1:]} == {"mixed_bfloat16"}
    check_trains_and_loads(pruned, tmp_path)


def test_a_network_in_half_precision_keeps_its_weights_exactly():
    with dtype_policy("bfloat16"):
        model = toy_parent()
    pruned = pruning.pruned_to(model, find_blocks(model), 12618)
    kernel, bias = model.get_layer("b2_conv1").get_weights()
    weakest = np.argmin(np.abs(kernel.astype(float)).sum(axis=(0, 1, 2)))
    left, _ = pruned.get_layer("b2_conv1").get_weights()
    assert left.dtype == kernel.dtype
    np.testing.assert_array_equal(left, np.delete(kernel, weakest, axis=-1))
