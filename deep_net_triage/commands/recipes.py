"""Recipes: named sets of flags on how networks are trained.

The paper gives no hyperparameters. `paper` is what its text suggests: Adam at a constant rate,
and the best epoch on the test images is reported. Accuracies then change by more from one epoch
to the next than most blocks cost. With `settled` the rate falls to zero, and the last epoch is
reported. docs/reproduction.md shows what the two do.
"""

# A data set's flag file, --flagfile and the command line override each of these flags.
RECIPES = {
    "settled": (
        "--schedule=cosine",
        "--warmup_epochs=1",
        "--optimizer=adamw",
        "--weight_decay=0.05",
        "--augment=flip_crop",
        "--augment_copies=0",
        "--learning_rate=0.002",
        "--layer_learning_rate=0.01",
        "--retrain_learning_rate=0.0001",
        "--block_start=aligned",
        "--batchnorm_momentum=0.97",
    ),
    "paper": (
        "--schedule=constant",
        "--optimizer=adam",
        "--augment=none",
        "--learning_rate=0.001",
        "--block_start=literal",
        "--batchnorm_momentum=0.9",
    ),
}

# How a given parent was trained is unknown. If it was trained without label smoothing, students
# lose accuracy by it. Whether the user's own images may be mirrored is unknown as well.
_PARENT_TRAINED_HERE = {"settled": ("--label_smoothing=0.1",)}
_OF_OWN_IMAGES = {"settled": ("--augment=crop",)}


def flags_of(recipe: str, given_parent: bool, own_images: bool) -> tuple[str, ...]:
    """Returns a recipe's flags.

    Args:
        recipe: its name.
        given_parent: whether the parent is a trained model that the user gives.
        own_images: whether the images are the user's, not those of a known data set.
    """
    flags = RECIPES[recipe]
    if not given_parent:
        flags += _PARENT_TRAINED_HERE.get(recipe, ())
    if own_images:
        flags += _OF_OWN_IMAGES.get(recipe, ())
    return flags
