"""Runs the command line with invalid input, and counts tracebacks.

python -m benchmarks.bad_input

Each input has one mistake: in a flag, a flag file, a saved model, or a data set. The command
must print one line that begins with the program's name, exit with code 2, and write nothing. A
few inputs are unusual but valid, and must give a finished study.
"""

import contextlib
import io
import json
import os
import random
import shutil
import sys
import tempfile
import traceback
from collections.abc import Iterator
from pathlib import Path

import numpy as np

TINY = (
    "--recipe=paper",
    "--precision=float32",
    "--width=0.02",
    "--parent_epochs=1",
    "--epochs=1",
    "--batch_size=8",
    "--method=cl_rw",
    "--block=5",
)
FLAGS = (
    "--metod=stn",
    "--method=",
    "--method=foo",
    "--method=stn,foo",
    "--method=,",
    "--method=STN",
    "--method=stn cl_rw",
    "--block=",
    "--block=0",
    "--block=6",
    "--block=-1",
    "--block=1,9",
    "--block=block9",
    "--block=1.5",
    "--block=,",
    "--seeds=",
    "--seeds=-1",
    "--seeds=4294967296",
    "--seeds=one",
    "--seeds=1,,2",
    "--seeds=1.5",
    "--dataset=",
    "--dataset=cifar11",
    "--dataset=../../etc",
    "--dataset=mnist:9.9.9",
    "--dataset=a b",
    "--dataset=-",
    "--epochs=0",
    "--epochs=-3",
    "--epochs=2.5",
    "--epochs=many",
    "--epochs=",
    "--epochs=1e3",
    "--parent_epochs=0",
    "--distill_epochs=0",
    "--distill_epochs=none",
    "--batch_size=0",
    "--batch_size=-8",
    "--batch_size=many",
    "--learning_rate=0",
    "--learning_rate=-1",
    "--learning_rate=nan",
    "--learning_rate=inf",
    "--learning_rate=fast",
    "--optimizer=rmsprop",
    "--optimizer=",
    "--dropout=1",
    "--dropout=-0.1",
    "--dropout=nan",
    "--batchnorm_momentum=1",
    "--batchnorm_momentum=-1",
    "--augment=rotate",
    "--augment_copies=2",  # of images that do not change
    "--recipe=fast",
    "--schedule=linear",
    "--warmup_epochs=1",  # leaves no epoch
    "--weight_decay=0.1",  # Adam has none
    "--label_smoothing=1",
    "--clip_norm=0",
    "--temperature=0",
    "--distill=labels",
    "--parent_patience=0",
    "--block_start=mean",
    "--mean_over=filter",
    "--precision=float8",
    "--image_size=16",
    "--image_size=31",
    "--image_size=-32",
    "--image_size=wide",
    "--width=0",
    "--width=-1",
    "--width=nan",
    "--width=wide",
    "--train_examples=0",
    "--train_examples=-1",
    "--train_examples=99999",
    "--test_examples=0",
    "--test_examples=99999",
    "--activation_memory=-1",
    "--activation_memory=nan",
    "--activation_disk=-1",
    "--activation_disk=big",
    "--activation_dir=absent",
    "--activation_dtype=int8",
    "--save_models=perhaps",
    "--overwrite=2",
    "--deterministic=maybe",
    "--parent=absent.keras",
    "--parent=.",
    "--parent_weights=absent.h5",
    "--parent_weights=imagenet",
    "--output_dir=",
    "--flagfile=",
    "--flagfile=absent.flags",
    "--flagfile=.",
    "epochs=3",
    "stanford_dogs",
    "-",
    "--=3",
    "--epochs 3 4",
    "\x00",
    "--output_dir=\x00",
    "--parent=\x00",
    "--dataset=\udcff",
    "--parent=" + "a" * 5000,
    "--output_dir=" + "a" * 5000,
    "--flagfile=" + "a" * 5000,
    "--dataset=" + "a" * 5000,
)
FLAG_FILES = {
    "no dashes": b"epochs=3\n",
    "no value": b"--epochs\n",
    "trailing comment": b"--epochs=3  # three\n",
    "itself": b"--flagfile=itself.flags\n",
    "binary": bytes(range(256)),
    "unknown flag": b"--epoch=3\n",
    "bad value": b"--epochs=three\n",
    "absent include": b"--flagfile=absent.flags\n",
    "long line": b"--seeds=" + b"9" * 100_000 + b"\n",
}
# Unusual but valid: the study must finish.
ODD = {
    "one training image and one test image": ("--train_examples=1", "--test_examples=1"),
    "a batch larger than the data": ("--train_examples=20", "--batch_size=1000"),
    "a batch of one image": ("--train_examples=10", "--test_examples=3", "--batch_size=1"),
}


def main() -> None:
    """Prints each input and its outcome, and the number of wrong outcomes."""
    wrong, count, tracebacks = 0, 0, 0
    for name, arguments, allowed in _inputs():
        count += 1
        code, printed = _run(arguments)
        tracebacks += code == "traceback"
        good = code in allowed and (code == 0 or _is_one_line(printed))
        wrong += not good
        ending = printed.strip().replace("\n", " / ")[:150]
        print(f"{'' if good else 'WRONG: '}{name[:60]!r}: {code}  {ending}", flush=True)
    print(f"{count} inputs, {tracebacks} tracebacks, {wrong} ended otherwise than they should")
    sys.exit(wrong > 0)


def _inputs() -> Iterator[tuple[str, list[str], tuple[int, ...]]]:
    """Yields a name, arguments and the allowed exit codes."""
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        for flag in FLAGS:
            yield flag, [*TINY, flag], (2,)
        for name, content in FLAG_FILES.items():
            file = Path(f"{name}.flags")
            file.write_bytes(content)
            yield f"flag file: {name}", [*TINY, f"--flagfile={file}"], (2,)
        for name, file in _models(Path(folder)):
            yield f"model: {name}", [*TINY, f"--parent={file}"], (2,)
        for name, dataset in _datasets(Path(folder) / "data"):
            flags = [f"--dataset={dataset}", f"--data_dir={folder}/data", "--image_size=32"]
            yield f"data set: {name}", [*TINY, *flags], (2,)
        for name, flags in ODD.items():
            yield f"odd: {name}", [*TINY, *flags], (0,)


def _run(arguments: list[str]) -> tuple[object, str]:
    """Returns the exit code, or `traceback`, and the text on standard error."""
    import run_triage

    printed = io.StringIO()
    output = Path("output")
    before = _names()
    with contextlib.redirect_stderr(printed), contextlib.redirect_stdout(io.StringIO()):
        try:
            code = run_triage.main([f"--output_dir={output}", *arguments])
        except BaseException:
            traceback.print_exc()
            return "traceback", printed.getvalue()
    if code == 2 and _names() != before:
        return "2, but something was written", printed.getvalue()
    shutil.rmtree(output, ignore_errors=True)
    return code, printed.getvalue()


def _names() -> list[str]:
    return sorted(str(file) for file in Path().rglob("*") if "data" not in file.parts)


def _is_one_line(printed: str) -> bool:
    return printed.startswith("run_triage.py: ") and printed.count("\n") == 1


def _models(folder: Path) -> Iterator[tuple[str, Path]]:
    """Yields saved models that can't be triaged on the digits."""
    import keras

    layers = keras.layers
    good = folder / "good.keras"
    _save(good, (8, 8, 1), 10)
    content, generator = good.read_bytes(), random.Random(0)
    for share in (0, 0.01, 0.3, 0.6, 0.9, 0.99, 0.9999):
        (folder / "cut.keras").write_bytes(content[: int(len(content) * share)])
        yield f"cut to {share:.2%}", folder / "cut.keras"
    for size in (1, 100, 100_000):
        (folder / "random.keras").write_bytes(generator.randbytes(size))
        yield f"{size} random bytes", folder / "random.keras"
    for name, shape, classes in (
        ("four classes", (8, 8, 1), 4),
        ("other size", (9, 9, 1), 10),
        ("three channels", (8, 8, 3), 10),
    ):
        _save(folder / "model.keras", shape, classes)
        yield name, folder / "model.keras"
    images = keras.Input((8, 8, 1))
    flat = layers.Flatten()(images)
    logits = layers.Dense(10)(flat)
    two = keras.Input((8, 8, 1))
    unknown = layers.Dense(10)(layers.Lambda(lambda x: x * 2)(flat))
    for name, model in {
        "no blocks": keras.Model(images, logits),
        "two inputs": keras.Model(
            [images, two], layers.Dense(10)(layers.Flatten()(two)) + logits
        ),
        "two outputs": keras.Model(images, [logits, flat]),
        "a Lambda layer": keras.Model(images, unknown),
        "vectors": keras.Sequential([keras.Input((64,)), layers.Dense(10)]),
        "sequence of ten": keras.Sequential([keras.Input((8, 8, 1)), layers.Dense(10)]),
    }.items():
        model.save(folder / "model.keras")
        yield name, folder / "model.keras"
    broken = _save(folder / "model.keras", (8, 8, 1), 10)
    broken.layers[1].kernel.assign(broken.layers[1].kernel * np.nan)
    broken.save(folder / "model.keras")
    yield "weights that are not a number", folder / "model.keras"
    for name, other in (("text", b"no model"), ("JSON", b"{}")):
        (folder / "model.json").write_bytes(other)
        yield f"another kind of file: {name}", folder / "model.json"


def _save(file: Path, shape: tuple[int, ...], classes: int):  # noqa: ANN202, see networks.py
    """Saves and returns a model with one block."""
    import keras

    x = images = keras.Input(shape)
    for _ in range(2):
        x = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(x)
    x = keras.layers.Flatten()(keras.layers.MaxPooling2D()(x))
    model = keras.Model(images, keras.layers.Dense(classes)(x))
    model.save(file)
    return model


def _datasets(folder: Path) -> Iterator[tuple[str, str]]:
    """Yields the names of TFDS data sets with invalid content."""
    import tensorflow as tf

    def png(value: int) -> bytes:
        pixels = np.random.default_rng(value).integers(0, 256, (8, 8, 3), dtype=np.uint8)
        return tf.io.encode_png(pixels).numpy()

    good = [(png(n), n % 3) for n in range(12)]
    flat = tf.io.encode_png(np.full((8, 8, 3), 7, np.uint8)).numpy()
    cases = {
        "label beyond the last class": [*good, (png(0), 3)],
        "negative label": [*good, (png(0), -1)],
        "no image at all": [*good, (b"no image", 1)],
        "an image cut short": [*good, (png(0)[:40], 1)],
        "an empty image": [*good, (b"", 1)],
        "pixels that are all equal": [(flat, n % 3) for n in range(6)],
        "no examples": [],
    }
    for number, (name, examples) in enumerate(cases.items()):
        write(folder, f"odd{number}", examples)
        yield name, f"odd{number}"
    for number, share in enumerate((0.5, 0.99)):
        record = write(folder, f"cut{number}", good)
        record.write_bytes(record.read_bytes()[: int(record.stat().st_size * share)])
        yield f"a record file cut to {share:.0%}", f"cut{number}"
    record = write(folder, "flipped", good)
    content = bytearray(record.read_bytes())
    content[len(content) // 2] ^= 255
    record.write_bytes(content)
    yield "a record with a changed byte", "flipped"
    information = write(folder, "information", good).parent / "dataset_info.json"
    information.write_text("{")
    yield "damaged information", "information"
    write(folder, "without_records", good).unlink()
    yield "a missing record file", "without_records"


def write(folder: Path, name: str, examples: list[tuple[bytes, int]]) -> Path:
    """Writes a TFDS data set of encoded images and labels, without checking them.

    Returns:
        The record file of the training split.
    """
    import tensorflow as tf
    import tensorflow_datasets as tfds

    features = tfds.features.FeaturesDict(
        {
            "image": tfds.features.Image(shape=(8, 8, 3), encoding_format="png"),
            "label": tfds.features.ClassLabel(names=["a", "b", "c"]),
        }
    )
    place = folder / name / "1.0.0"
    place.mkdir(parents=True)
    information = {"name": name, "version": "1.0.0", "fileFormat": "tfrecord", "splits": []}
    for split in ("train", "test"):
        record = place / f"{name}-{split}.tfrecord-00000-of-00001"
        with tf.io.TFRecordWriter(str(record)) as writer:
            for image, label in examples:
                feature = {
                    "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
                    "label": tf.train.Feature(int64_list=tf.train.Int64List(value=[label])),
                }
                example = tf.train.Example(features=tf.train.Features(feature=feature))
                writer.write(example.SerializeToString())
        information["splits"].append(
            {
                "name": split,
                "filepathTemplate": "{DATASET}-{SPLIT}.{FILEFORMAT}-{SHARD_X_OF_Y}",
                "shardLengths": [str(len(examples))],
                "numBytes": str(record.stat().st_size),
            }
        )
    (place / "dataset_info.json").write_text(json.dumps(information))
    features.save_config(str(place))
    return place / f"{name}-train.tfrecord-00000-of-00001"


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    main()
