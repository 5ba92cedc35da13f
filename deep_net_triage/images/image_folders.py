"""Loads images from folders, one folder per class, into memory."""

import itertools
import math
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import MappingProxyType

import numpy as np
import tensorflow as tf

from deep_net_triage import steps
from deep_net_triage.errors import InputError
from deep_net_triage.images import datasets, fitting, subsets
from deep_net_triage.images.splits import Dataset, Split
from deep_net_triage.steps import Report, Reporter, Step

_SUFFIXES = (".jpg", ".jpeg", ".png", ".bmp", ".gif")
_ALL = MappingProxyType({"train": None, "test": None})
_GROWTH = 2**26  # bytes by which the array of images grows at a time


def load(
    folder: Path,
    *,
    image_size: int,
    class_names: Path | None = None,
    examples: Mapping[str, int | None] = _ALL,
    report: Report = steps.ignore,
) -> Dataset:
    """Returns the images of `folder/train/<class>/`, `folder/test/<class>/` and so on.

    Images are JPEG, PNG, BMP or GIF files; of an animation, the first frame is read. Hidden and
    other files are ignored. Images are sorted by class name, then path. They are resized only
    if their sizes differ. Grey images among RGB images become RGB; alpha is dropped.

    Args:
        folder: its name becomes the data set's name.
        image_size: height and width in pixels to which images of varying size are resized.
        class_names: a UTF-8 text file with one class name per line, in the order of a model's
            outputs; None for the order of Keras's `image_dataset_from_directory`.
        examples: the splits to read, `train`, `test` and, if there is such a folder,
            `validation`; and of each the number of images to use, class-balanced, None for all.
        report: receives how many images have been read.

    Raises:
        InputError: if a split has no folder, too few images, or one that can't be decoded, or
            if the class names don't match the folders.
    """
    by_class = {
        split: _class_files(folder / split)
        for split in examples
        if split != "validation" or (folder / split).is_dir()
    }
    # Sorted by code point, like Keras: 10 precedes 2.
    folders = sorted(set().union(*by_class.values()))
    names = _listed(class_names, folders) if class_names else folders
    numbers = {name: number for number, name in enumerate(names)}

    def chosen(split: str) -> list[Path]:
        # Sorted by name, so that the order of the classes does not change a subset.
        files = [file for name in sorted(by_class[split]) for file in by_class[split][name]]
        labels = np.array([numbers[file.parent.name] for file in files])
        flag = f"--{split}_examples"
        return [files[n] for n in subsets.chosen_examples(labels, examples[split], flag)]

    files = {split: chosen(split) for split in by_class}
    everything = list(itertools.chain.from_iterable(files.values()))
    images, varying_size = _read(everything, image_size, Reporter(report))
    ends = np.cumsum([len(of_split) for of_split in files.values()])[:-1]
    labels = np.array([numbers[file.parent.name] for file in everything])
    parts = zip(files, np.split(images, ends), np.split(labels, ends), strict=True)
    return Dataset(
        name=Path(os.path.abspath(folder)).name,
        **{split: Split(*part) for split, *part in parts},
        class_names=tuple(names),
        varying_size=varying_size,
    )


def _class_files(split: Path) -> dict[str, list[Path]]:
    """Returns the sorted image files of each class."""
    if not split.is_dir():
        raise InputError(
            f"{split} is not a folder; images are read from {split.parent / 'train'} and "
            f"{split.parent / 'test'}, each with one folder per class"
        )
    files = {
        folder.name: sorted(file for file in folder.iterdir() if _is_image(file))
        for folder in split.iterdir()
        if folder.is_dir() and not folder.name.startswith(".")
    }
    if not any(files.values()):
        raise InputError(
            f"{split} holds no images; put files {', '.join(_SUFFIXES)} into one folder per "
            f"class, such as {split / 'cat' / '1.png'}"
        )
    return files


def _is_image(file: Path) -> bool:
    # A dangling link counts as an image, so that reading it reports the file.
    hidden = file.name.startswith(".")
    return file.suffix.lower() in _SUFFIXES and not hidden and not file.is_dir()


def _listed(file: Path, folders: list[str]) -> list[str]:
    """Returns the class names in a file; raises InputError if they don't match the folders."""
    try:
        text = file.read_text("utf-8-sig")  # some editors write a byte order mark
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"{file} is not a list of class names ({error}); it must be a UTF-8 text file with "
            "one name per line"
        ) from error
    names = [line.strip() for line in text.rstrip().split("\n")]
    if "" in names:
        line = names.index("") + 1
        raise InputError(f"{file}: line {line} is empty; write one class name per line")
    twice = [name for name, times in Counter(names).items() if times > 1]
    if twice:
        raise InputError(f"{file} lists {twice[0]!r} more than once; keep one of them")
    unlisted = [name for name in folders if name not in set(names)]
    if unlisted:
        raise InputError(
            f"{file} does not list {unlisted[0]!r}, which has a folder of images; add its line "
            f"or remove the folder ({len(unlisted)} of {len(folders)} are not listed)"
        )
    return names


def _read(files: list[Path], image_size: int, reporter: Reporter) -> tuple[np.ndarray, bool]:
    """Returns the images in one array, and whether they had several sizes.

    The array's shape fits the images read so far. The final shape is known only after the last
    image, and decoding all images twice would take longer.
    """
    images, varying_size = np.empty((0, 0, 0, 0), np.uint8), False
    reporter.begin(Step("reading images", of=len(files), unit="image"))
    for row, pixels in enumerate(_decoded(files)):
        sides = images.shape[1:3] if row else pixels.shape[:2]
        if pixels.shape[:2] != sides:
            varying_size, sides = True, (image_size, image_size)
        shape = (*sides, max(images.shape[3], pixels.shape[2]))
        if shape != images.shape[1:]:
            images = fitting.reshaped(images[:row], shape)
        if row == len(images):
            # Resized in place, which copies no data. Allocating the whole array at once could
            # exceed the memory if images as large as the first are resized later.
            rows = row + 1 + _GROWTH // math.prod(shape)
            images.resize((min(rows, len(files)), *shape), refcheck=False)
        if pixels.shape[:2] != sides:
            pixels = fitting.reshaped(pixels[np.newaxis], shape)[0]
        images[row] = pixels
        reporter.reached(row + 1, row + 1)
    return images, varying_size


def _decoded(files: list[Path]) -> Iterator[np.ndarray]:
    """Yields each file's pixels, uint8 (height, width, 1 or 3), in order; reads in parallel."""

    def decode(path: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        content = tf.io.read_file(path)
        # The content decides on the format, not the suffix.
        pixels = tf.io.decode_image(content, expand_animations=False)
        return pixels, tf.strings.substr(content, 0, 2**11)

    paths = tf.data.Dataset.from_tensor_slices([os.fsencode(file) for file in files])
    decoded = paths.map(decode, tf.data.AUTOTUNE).as_numpy_iterator()
    for file in files:
        try:
            pixels, head = next(decoded)
        except tf.errors.ResourceExhaustedError:
            raise
        except tf.errors.OpError as error:
            raise InputError(
                f"{file} can't be decoded ({datasets.reason_of(error)}); allowed: JPEG, PNG, "
                "BMP and GIF, so save it again as one of these or remove it"
            ) from error
        if _has_palette(head):
            raise InputError(f"{file} is a BMP with a palette of colours; save it again as PNG")
        yield pixels[..., : 3 if pixels.shape[2] > 2 else 1]


def _has_palette(head: bytes) -> bool:
    """Returns whether a BMP has a palette of colours, which TensorFlow would read as grey."""
    if head[:2] != b"BM" or int.from_bytes(head[28:30], "little") != 8:
        return False
    compression = int.from_bytes(head[30:34], "little")
    first = 14 + int.from_bytes(head[14:18], "little")
    colors = head[first : int.from_bytes(head[10:14], "little")]
    grey = all(colors[4 * n : 4 * n + 3] in (bytes((n, n, n)), b"") for n in range(256))
    return compression != 0 or not grey
