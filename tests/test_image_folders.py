import io
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from PIL import Image

from deep_net_triage import steps
from deep_net_triage.commands import command_line
from deep_net_triage.errors import InputError
from deep_net_triage.images import dataset_checks, image_folders, subsets

HELD_OUT = {"train": None, "test": None, "validation": None}
RED, BLUE = (200, 30, 10), (5, 60, 190)


def plain(color, height=4, width=6):
    """An image of one colour, or one grey level."""
    return Image.new("RGB" if isinstance(color, tuple) else "L", (width, height), color)


def write(folder, images):
    """Writes images, or bytes, by their paths in the folder."""
    for path, image in images.items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(image, bytes):
            file.write_bytes(image)
        else:
            image.save(file)
    return folder


@pytest.fixture
def pets(tmp_path):
    """Two classes of two training images and a test image, all of one size."""
    return write(
        tmp_path / "pets",
        {
            "train/cat/b.png": plain((2, 2, 2)),
            "train/cat/a.png": plain((1, 1, 1)),
            "train/Dog/1.png": plain((4, 4, 4)),
            "train/Dog/10.png": plain((5, 5, 5)),
            "test/cat/1.png": plain((7, 7, 7)),
            "test/Dog/1.png": plain((8, 8, 8)),
        },
    )


def levels(split):
    """The first level of each image, which tells the images of one colour apart."""
    return split.images[:, 0, 0, 0].numpy().tolist()


def test_a_folder_of_held_out_images_is_read_where_they_are_wanted(pets):
    write(pets, {"validation/Dog/1.png": plain((9, 9, 9)), "validation/emu/1.png": plain(10)})
    dataset = image_folders.load(pets, image_size=32, examples=HELD_OUT)
    assert dataset.class_names == ("Dog", "cat", "emu")
    assert levels(dataset.train) == [4, 5, 1, 2]
    assert levels(dataset.test) == [8, 7]
    assert levels(dataset.validation) == [9, 10]
    assert dataset.validation.labels.numpy().tolist() == [0, 2]
    assert image_folders.load(pets, image_size=32).validation is None


def test_without_such_a_folder_there_are_none(pets):
    assert image_folders.load(pets, image_size=32, examples=HELD_OUT).validation is None


def test_how_many_images_have_been_read_is_reported(pets, monkeypatch):
    monkeypatch.setattr(steps, "SECONDS_BETWEEN_REPORTS", 0)
    reports = []
    image_folders.load(pets, image_size=32, report=reports.append)
    assert [(step.done, step.of) for step in reports] == [(done, 6) for done in range(7)]


def test_folders_become_classes_in_order(pets):
    found = image_folders.load(pets, image_size=32)
    assert (found.name, found.class_names) == ("pets", ("Dog", "cat"))
    assert found.train.images.shape == (4, 4, 6, 3)
    assert found.input_shape == (4, 6, 3)
    assert levels(found.train) == [4, 5, 1, 2]
    assert found.train.labels.numpy().tolist() == [0, 0, 1, 1]
    assert levels(found.test) == [8, 7]
    assert found.test.labels.numpy().tolist() == [0, 1]
    assert dataset_checks.warnings(found) == []


def test_name_is_the_folders_own(pets, monkeypatch):
    monkeypatch.chdir(pets / "train")
    assert image_folders.load(Path(".."), image_size=32).name == "pets"


def test_order_of_classes_is_kerass(tmp_path):
    for name in ("b", "B", "a", "10", "2", "é", "a b", "_"):
        write(tmp_path, {f"{split}/{name}/1.png": plain(RED) for split in ("train", "test")})
    found = image_folders.load(tmp_path, image_size=32)
    assert found.class_names == ("10", "2", "B", "_", "a", "a b", "b", "é")
    kerass = keras.utils.image_dataset_from_directory(tmp_path / "train", verbose=False)
    assert found.class_names == tuple(kerass.class_names)


@pytest.mark.parametrize("suffix", ["png", "PNG", "bmp", "gif", "jpg", "JPEG"])
@pytest.mark.parametrize("color", [RED, 77])
def test_formats(tmp_path, suffix, color):
    image = plain(color, 16, 8)
    image.paste(plain(BLUE if color == RED else 200, 8, 8), (0, 8))
    write(tmp_path, {f"train/a/1.{suffix}": image, f"test/a/1.{suffix}": image})
    found = image_folders.load(tmp_path, image_size=32)
    pixels = found.train.images[0].numpy().astype(int)
    channels = 3 if color == RED or suffix == "gif" else 1  # a GIF is always in colour
    with Image.open(tmp_path / "train" / "a" / f"1.{suffix}") as read:
        wanted = np.asarray(read.convert("RGB" if channels == 3 else "L"))
    assert pixels.shape == (16, 8, channels)
    # Of a JPEG, decoders agree to within some levels.
    tolerance = 4 if suffix.lower().startswith("j") else 0
    assert np.abs(pixels - wanted.reshape(pixels.shape)).max() <= tolerance


@pytest.mark.parametrize(
    ("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("P", 3), ("RGB", 3), ("RGBA", 3)]
)
def test_pngs_of_every_kind(tmp_path, mode, channels):
    pixels = np.random.default_rng(0).integers(0, 256, (4, 6, 4), dtype=np.uint8)
    image = Image.fromarray(pixels if mode == "RGBA" else pixels[..., :3]).convert(mode)
    if mode == "LA":
        image.putalpha(Image.fromarray(pixels[..., 3]))
    write(tmp_path, {"train/a/1.png": image, "test/a/1.png": image})
    found = image_folders.load(tmp_path, image_size=32).train.images[0].numpy()
    assert found.shape == (4, 6, channels)
    # Pillow's conversion of RGBA and LA drops the alpha too.
    wanted = np.asarray(image.convert("RGB" if channels == 3 else "L"))
    assert found.tolist() == wanted.reshape(found.shape).tolist()


def test_first_picture_of_an_animation(tmp_path):
    for split in ("train", "test"):
        file = write(tmp_path, {f"{split}/a/1.gif": b""}) / split / "a" / "1.gif"
        plain(RED).save(file, save_all=True, append_images=[plain(BLUE)])
    found = image_folders.load(tmp_path, image_size=32)
    assert np.all(found.train.images == np.array(RED))


def test_images_of_several_sizes_are_resized(tmp_path):
    ramp = Image.fromarray(np.array([[0, 99]], np.uint8))
    images = {"train/a/1.png": ramp, "train/a/2.png": plain(7, 9, 9), "train/a/3.png": ramp}
    write(tmp_path, {**images, "test/a/1.png": plain(8, 2, 2)})
    found = image_folders.load(tmp_path, image_size=4)
    # 0, 24.75, 74.25, 99 by half-pixel centres.
    assert found.train.images[0, ..., 0].numpy().tolist() == [[0, 25, 74, 99]] * 4
    assert found.train.images[2, ..., 0].numpy().tolist() == [[0, 25, 74, 99]] * 4
    assert np.all(found.train.images[1] == 7)
    assert np.all(found.test.images == 8)
    assert found.varying_size
    assert found.input_shape == (None, None, 1)


@pytest.mark.parametrize("sizes", [(4, 6), (6, 4)])
def test_one_other_size_in_the_test_split_is_enough(tmp_path, sizes):
    first, last = sizes
    images = {f"train/a/{n}.png": plain(n, first, first) for n in range(3)}
    write(tmp_path, {**images, "test/a/1.png": plain(8, last, last)})
    found = image_folders.load(tmp_path, image_size=4)
    assert found.varying_size
    assert found.train.images.shape == (3, 4, 4, 1)
    assert found.test.images.shape == (1, 4, 4, 1)
    assert (levels(found.train), levels(found.test)) == ([0, 1, 2], [8])


@pytest.mark.parametrize("side", [4, 5])
def test_grey_among_rgb_becomes_rgb(tmp_path, side):
    write(
        tmp_path,
        {
            "train/a/1.png": plain(9, 4, 4),
            "train/a/2.png": plain(RED, side, side),
            "train/a/3.png": plain(10, 4, 4),
            "test/a/1.png": plain(11, 4, 4),
        },
    )
    found = image_folders.load(tmp_path, image_size=4)
    assert found.varying_size == (side == 5)
    colors = [(9, 9, 9), RED, (10, 10, 10)]
    assert found.train.images.shape == (3, 4, 4, 3)
    for image, color in zip(found.train.images.numpy(), colors, strict=True):
        assert np.all(image == color)
    assert np.all(found.test.images == 11)


def test_array_that_grows_image_by_image_holds_them_all(pets, monkeypatch):
    whole = image_folders.load(pets, image_size=32)
    monkeypatch.setattr(image_folders, "_GROWTH", 1)
    grown = image_folders.load(pets, image_size=32)
    assert np.array_equal(grown.train.images, whole.train.images)
    assert np.array_equal(grown.test.images, whole.test.images)


def test_more_images_than_are_resized_at_once(tmp_path):
    images = {f"train/a/{n:03}.bmp": plain(n, 3, 3) for n in range(150)}
    write(tmp_path, {**images, "test/a/1.png": plain(8, 2, 2)})
    found = image_folders.load(tmp_path, image_size=5)
    assert found.train.images.shape == (150, 5, 5, 1)
    assert levels(found.train) == list(range(150))


def test_class_names_say_the_order(pets, tmp_path):
    (pets / "train" / "newt").mkdir()
    listed = tmp_path / "labels.txt"
    listed.write_bytes("\ufeffcat\r\nöwl\r\nnewt\r\nDog\r\n\r\n\n".encode())
    found = image_folders.load(pets, image_size=32, class_names=listed)
    assert found.class_names == ("cat", "öwl", "newt", "Dog")
    by_level = dict(zip(levels(found.train), found.train.labels.numpy(), strict=True))
    assert by_level == {1: 0, 2: 0, 4: 3, 5: 3}
    assert dict(zip(levels(found.test), found.test.labels.numpy(), strict=True)) == {7: 0, 8: 3}
    (warning, *_) = dataset_checks.warnings(found)
    assert "no training image shows 2 of 4 classes (öwl, newt)" in warning


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("cat\n", "does not list 'Dog', which has a folder .*1 of 2 are not listed"),
        ("cat\ndog\n", "does not list 'Dog'"),
        ("cat\nDog\ncat\n", "lists 'cat' more than once"),
        ("cat\n\nDog\n", "line 2 is empty"),
        ("\n", "line 1 is empty"),
        (b"caf\xe9\n", "is not a list of class names .*UTF-8"),
        (None, "is not a list of class names .*No such file"),
    ],
)
def test_class_names_that_are_not_those_of_the_folders(pets, tmp_path, text, said):
    listed = tmp_path / "labels.txt"
    if text is not None:
        listed.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(InputError, match=said) as caught:
        image_folders.load(pets, image_size=32, class_names=listed)
    assert str(caught.value).startswith(str(listed))
    assert "\n" not in str(caught.value)


def test_class_without_images_stays(pets):
    (pets / "test" / "ant").mkdir()
    found = image_folders.load(pets, image_size=32)
    assert found.class_names == ("Dog", "ant", "cat")
    assert found.train.labels.numpy().tolist() == [0, 0, 2, 2]
    assert "no training image shows 1 of 3 classes (ant)" in dataset_checks.warnings(found)[0]


def test_hidden_and_other_files_are_ignored(pets):
    for path in (".cat/1.png", "cat/.1.png", "cat/notes.txt", "readme.png", "cat/c.png/x.png"):
        write(pets / "train", {path: b"no image"})
    assert levels(image_folders.load(pets, image_size=32).train) == [4, 5, 1, 2]


def test_links_are_followed(pets, tmp_path):
    linked = tmp_path / "linked"
    linked.mkdir()
    shutil.copytree(pets / "train" / "cat", linked / "train" / "cat")
    (linked / "train" / "Dog").symlink_to(pets / "train" / "Dog")
    (linked / "train" / "cat" / "c.png").symlink_to(pets / "test" / "cat" / "1.png")
    (linked / "test").symlink_to(pets / "test")
    found = image_folders.load(linked, image_size=32)
    assert (found.name, levels(found.train)) == ("linked", [4, 5, 1, 2, 7])
    assert found.train.labels.numpy().tolist() == [0, 0, 1, 1, 1]
    # A link to the whole folder goes by its own name as well.
    (tmp_path / "today").symlink_to(linked)
    assert image_folders.load(tmp_path / "today", image_size=32).name == "today"
    assert command_line.parse([f"--image_dir={tmp_path / 'today'}"]).dataset == "today"


def half(kind):
    """The first half of the bytes of an image of noise."""
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    written = io.BytesIO()
    Image.fromarray(noise).save(written, kind)
    return written.getvalue()[: len(written.getvalue()) // 2]


@pytest.mark.parametrize("suffix", ["jpeg", "png", "bmp", "gif"])
@pytest.mark.parametrize("content", ["half", "text", "nothing"])
def test_file_that_cannot_be_decoded_is_named(pets, suffix, content):
    content = {"half": half(suffix), "text": b"no image " * 30, "nothing": b""}[content]
    write(pets, {f"train/cat/aa.{suffix}": content})
    with pytest.raises(InputError, match="can't be decoded .*; allowed: JPEG, PNG") as caught:
        image_folders.load(pets, image_size=32)
    assert str(caught.value).startswith(str(pets / "train" / "cat" / f"aa.{suffix} "))
    assert "\n" not in str(caught.value)
    assert "Iterator" not in str(caught.value)


def test_link_to_nothing_is_named(pets):
    (pets / "test" / "cat" / "2.png").symlink_to("nothing")
    with pytest.raises(InputError, match="2.png can't be decoded .*No such file"):
        image_folders.load(pets, image_size=32)


def test_bmp_of_a_palette_is_refused(pets):
    write(pets, {"train/cat/c.bmp": plain(RED).convert("P", palette=Image.Palette.ADAPTIVE)})
    with pytest.raises(InputError, match="c.bmp is a BMP with a palette .*as PNG"):
        image_folders.load(pets, image_size=32)


@pytest.mark.parametrize("split", ["train", "test"])
def test_split_without_folder_or_images_is_refused(pets, split):
    for folder in (pets / split).iterdir():
        shutil.rmtree(folder)
        folder.mkdir()
    with pytest.raises(InputError, match=f"{split} holds no images; put files .jpg, .jpeg, "):
        image_folders.load(pets, image_size=32)
    shutil.rmtree(pets / split)
    with pytest.raises(InputError, match=f"{split} is not a folder; images are read from"):
        image_folders.load(pets, image_size=32)


def test_subsets_are_balanced_and_only_they_are_read(tmp_path):
    images = {f"{'abc'[n // 9]}/{n:02}.png": n for n in range(27)}
    for split in ("train", "test"):
        write(tmp_path / split, {path: plain(level) for path, level in images.items()})
    chosen = subsets.balanced_subset(np.repeat([0, 1, 2], 9), 6)
    for n, path in enumerate(images):
        if n not in chosen:
            (tmp_path / "train" / path).write_bytes(b"never read")
    counts = {"train": 6, "test": 3}
    found = image_folders.load(tmp_path, image_size=4, examples=counts)
    assert levels(found.train) == chosen.tolist()
    assert np.bincount(found.train.labels).tolist() == [2, 2, 2]
    assert np.bincount(found.test.labels).tolist() == [1, 1, 1]
    # Another order of the classes gives the same images other labels.
    listed = tmp_path / "labels.txt"
    listed.write_text("c\na\nb\n")
    other = image_folders.load(
        tmp_path, image_size=4, class_names=listed, examples={"train": 6, "test": 3}
    )
    assert levels(other.train) == levels(found.train)
    assert other.train.labels.numpy().tolist() == [1, 1, 2, 2, 0, 0]


@pytest.mark.parametrize(("split", "count"), [("train", 4), ("test", 2)])
def test_more_images_than_there_are_are_refused(pets, split, count):
    with pytest.raises(InputError, match=f"--{split}_examples=9 .*there are: {count}"):
        image_folders.load(
            pets, image_size=32, examples={"train": None, "test": None, split: 9}
        )
