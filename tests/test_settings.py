import contextlib
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_net_triage import methods
from deep_net_triage.commands import command_line, declarations, endings, flagfiles
from deep_net_triage.errors import InputError


def parse(arguments, flags_dir):
    return command_line.parse(arguments, flags_dir)


def test_dataset_file_then_flagfiles_then_typed(tmp_path):
    (tmp_path / "digits.flags").write_text("--epochs=3\n--width=0.5\n--batch_size=7\n")
    (tmp_path / "first.flags").write_text("# a comment\n\n--width=0.25\n--batch_size=8\n")
    (tmp_path / "second.flags").write_text("--batch_size=9\n--seeds=4\n")
    found = parse(
        [
            "--seeds=1,2",  # typed before the flag file, and wins all the same
            f"--flagfile={tmp_path}/first.flags",
            "--flagfile",
            f"{tmp_path}/second.flags",
        ],
        tmp_path,
    )
    assert (found.epochs, found.width, found.batch_size) == (3, 0.25, 9)
    assert found.seeds == (1, 2)


def test_flag_file_may_choose_the_dataset_whose_file_is_read_first(tmp_path):
    (tmp_path / "mnist.flags").write_text("--epochs=3\n--width=0.5\n")
    (tmp_path / "mine.flags").write_text("--dataset=mnist\n--epochs=4\n")
    found = parse([f"--flagfile={tmp_path}/mine.flags"], tmp_path)
    assert (found.dataset, found.epochs, found.width) == ("mnist", 4, 0.5)


def test_included_file_is_found_beside_the_including_one(tmp_path, monkeypatch):
    (tmp_path / "flags").mkdir()
    (tmp_path / "flags" / "inner.flags").write_text("--epochs=6\n")
    (tmp_path / "flags" / "outer.flags").write_text("--flagfile=inner.flags\n--nosave_models\n")
    monkeypatch.chdir(tmp_path)
    found = parse(["--flagfile=flags/outer.flags"], tmp_path)
    assert (found.epochs, found.save_models) == (6, False)


@pytest.mark.parametrize("typed", ["small.flags", "flags/small.flags"])
def test_a_flag_file_of_the_package_is_found_from_anywhere(typed, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = parse([f"--flagfile={typed}"], flagfiles.packaged())
    assert (found.image_size, found.train_examples) == (32, 1800)
    # A file of the working directory comes before one of the package.
    (tmp_path / typed).parent.mkdir(exist_ok=True)
    (tmp_path / typed).write_text("--train_examples=7\n")
    assert parse([f"--flagfile={typed}"], flagfiles.packaged()).train_examples == 7


def test_a_missing_flag_file_is_refused_with_the_names_of_those_there_are(tmp_path):
    (tmp_path / "study").mkdir()
    for name in ("digits", "study/mnist"):
        (tmp_path / f"{name}.flags").touch()
    with pytest.raises(InputError) as caught:
        parse(["--flagfile=smal.flags"], tmp_path)
    assert str(caught.value) == (
        "flag file smal.flags can't be read: No such file; allowed: a path, digits.flags, "
        "study/mnist.flags"
    )


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("--epochs=3\nwidth=2\n", "line 2: 'width=2' sets nothing"),
        ("--epochs\n", "line 1: '--epochs' sets nothing"),
        ("--epochs=\n", "sets nothing"),
        ("-- epochs=3\n", "sets nothing"),
        ("--epochs=3  # three\n", "a comment must stand on a line of its own"),
        ("--flagfile=mine.flags\n", "includes itself"),
        ("--flagfile=absent.flags\n", "absent.flags can't be read: No such file"),
        ("--metod=stn\n", "Did you mean: method"),
    ],
)
def test_flag_file_that_sets_nothing_is_refused(tmp_path, content, expected):
    (tmp_path / "mine.flags").write_text(content)
    with pytest.raises(InputError, match=expected.replace(".", r"\.")):
        parse([f"--flagfile={tmp_path}/mine.flags"], tmp_path)


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--method=cl_xy", "'cl_xy' is not a method; allowed: cl_rw, cm_rw, cl_mw, cm_mw, stn"),
        ("--method=", "'' is not a method"),
        ("--block=", "names no block"),
        ("--optimizer=rmsprop", "must be one of adam|adamw|sgd"),
        ("--mean_over=layer", "must be one of block|channel"),
        ("--augment=mixup", "must be one of none|crop|flip_crop"),
        ("--block_start=mean", "must be one of literal|aligned"),
        ("--epochs=two", "--epochs=two: must be a whole number"),
        ("--epochs=1.5", "must be a whole number"),
        ("--epochs=0", "must be at least 1"),
        ("--distill_epochs=-1", "must be at least 1"),
        ("--parent_epochs=0", "must be at least 1"),
        ("--batch_size=0", "must be at least 1"),
        ("--train_examples=0", "must be at least 1"),
        ("--image_size=31", "must be at least 32"),
        ("--width=0", "must be above 0"),
        ("--width=inf", "must be above 0"),
        ("--learning_rate=fast", "must be a number"),
        ("--learning_rate=nan", "must be above 0"),
        ("--learning_rate=-0.1", "must be above 0"),
        ("--dropout=1", "must be at least 0 and below 1"),
        ("--batchnorm_momentum=1", "must be at least 0 and below 1"),
        ("--seeds=a", "--seeds='a': must be whole numbers from 0"),
        ("--seeds=4294967296", "must be whole numbers from 0 to 4294967295"),
        ("--save_models=perhaps", "must be true or false"),
        ("--dataset=../etc", "is not the name of a data set"),
        ("--parent=absent.keras", "absent.keras is not a file"),
        ("--parent_weights=absent.h5", "absent.h5 is not a file"),
        ("--output_dir=", "is empty"),
        ("--flagfile=", "needs a file"),
        ("stn", "'stn' is not a flag"),
        ("--metod=stn", "Did you mean: method"),
    ],
)
def test_bad_value_names_the_flag_and_what_is_allowed(argument, expected, tmp_path):
    with pytest.raises(InputError) as caught:
        parse([argument, "--width=1"] if "weights" in argument else [argument], tmp_path)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("--compress --final_epochs=1", "--final_epochs=1 leaves no epoch after --warmup"),
        ("--compress --method=control", "not --method=control"),
        (
            "--compress --shard=0/2",
            "with --validation_fraction=0.1, its default with --compress; then run this",
        ),
    ],
)
def test_what_a_compression_can_not_do_is_refused_before_the_trials(arguments, expected):
    with pytest.raises(InputError, match=expected):
        parse(arguments.split(), flags_dir=None)


def test_epochs_of_a_parent_that_is_not_trained_need_not_suit_the_warmup():
    arguments = ["--warmup_epochs=30", "--epochs=60", "--distill_epochs=60"]
    assert command_line.parse(arguments, in_memory=True).warmup_epochs == 30
    with pytest.raises(InputError, match="--parent_epochs=30 leaves no epoch"):
        command_line.parse([*arguments, "--parent_epochs=30"])


def test_parent_excludes_weights_and_weights_need_full_width(tmp_path):
    (tmp_path / "model.keras").touch()
    with pytest.raises(InputError, match="can't be combined"):
        parse([f"--parent={tmp_path}/model.keras", "--parent_weights=imagenet"], tmp_path)
    with pytest.raises(InputError, match="needs --width=1"):
        parse(["--parent_weights=imagenet", "--width=0.5"], tmp_path)


def test_files_may_be_named_from_the_home_folder(tmp_path, monkeypatch):
    """No shell replaces the tilde in `--parent=~/file`."""
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("vgg16.h5", "model.keras"):
        (tmp_path / name).touch()
    weights = command_line.parse(["--parent_weights=~/vgg16.h5", "--width=1"])
    assert weights.parent_weights == str(tmp_path / "vgg16.h5")
    assert command_line.parse(["--parent=~/model.keras"]).parent == tmp_path / "model.keras"


def test_the_home_of_nobody_is_a_name_like_any_other(tmp_path):
    with pytest.raises(InputError, match="--parent=~nobody-here.keras is not a file"):
        parse(["--parent=~nobody-here.keras"], tmp_path)


@pytest.mark.parametrize(
    "name",
    ["parent", "image_dir", "class_names", "data_dir", "activation_dir", "fold", "shard"],
)
def test_a_variable_of_the_shell_that_is_not_set_is_no_value(name, tmp_path):
    with pytest.raises(InputError, match=f"--{name} is empty; give it a value, or leave"):
        parse([f"--{name}="], tmp_path)


@pytest.mark.parametrize("name", ["digits", "mnist", "cifar10", "cifar100", "stanford_dogs"])
def test_every_dataset_has_a_flag_file_that_says_what_it_runs_and_costs(name, flags_dir):
    head = (flags_dir / f"{name}.flags").read_text().split("\n--")[0]
    assert all(line.startswith("#") for line in head.splitlines())
    for part in ("Runs: ", "Costs: ", "Command: python run_triage.py"):
        assert part in head
    found = parse([f"--dataset={name}", "--method=cl_rw"], flags_dir)
    assert found.methods == ("cl_rw",)
    small = parse([f"--dataset={name}", f"--flagfile={flags_dir}/small.flags"], flags_dir)
    assert (small.image_size, small.width) == (32, 0.25)


def test_hyperparameters_are_the_same_for_every_dataset(flags_dir):
    names = ("digits", "mnist", "cifar10", "cifar100", "stanford_dogs", "some_tfds_set")
    found = [parse([f"--dataset={name}"], flags_dir) for name in names]
    # Mirrored digits are no digits.
    assert [each.augment for each in found] == ["crop"] * 2 + ["flip_crop"] * 4
    assert parse(["--dataset=fashion_mnist"], flags_dir).augment == "flip_crop"
    assert parse(["--dataset=binarized_mnist"], flags_dir).augment == "crop"
    shared = [each.of_training() | {"augment": None} for each in found]
    assert all(each == shared[0] for each in shared)
    # All but the embedded digits run the paper's network at the paper's size.
    assert {(each.image_size, each.width) for each in found[1:]} == {(224, 1.0)}


def test_what_images_in_memory_are_called_does_not_change_how_they_are_augmented():
    named = ["--dataset=mnist_of_shoes", "--augment=flip_crop"]
    assert command_line.parse(named, in_memory=True).augment == "flip_crop"
    assert command_line.parse(named).augment == "crop"


def test_what_a_method_does_not_use_does_not_determine_its_trials(small_settings):
    one = small_settings(distill_epochs=1, mean_over="block")
    other = small_settings(distill_epochs=2, mean_over="channel")
    differing = {name for name in methods.METHODS if one.of_trial(name) != other.of_trial(name)}
    assert differing == {"cl_mw", "cm_mw", "stn", "stn_cm", "stn_kd"}


def test_study_json_records_every_setting_that_determines_a_trial(small_settings):
    settings = small_settings(replacement="separable")
    determining = {setting for name in methods.METHODS for setting in settings.of_trial(name)}
    # A property, made of the layer's learning rate.
    determining.remove("distillation_rate")
    assert determining <= {*settings.of_training(), *settings.of_students()}


def test_how_filters_start_determines_trials_that_start_at_random(small_settings):
    literal, aligned = (small_settings(block_start=name) for name in ("literal", "aligned"))
    differing = {n for n in methods.TABLE if literal.of_trial(n) != aligned.of_trial(n)}
    assert differing == {"cl_rw", "cm_rw", "stn", "stn_cm", "stn_kd"}


def test_study_folder_is_named_after_the_dataset(small_settings):
    found = small_settings(dataset="imagenette/160px-v2", output_dir="out")
    assert found.folder == Path("out/imagenette-160px-v2")


def test_methods_are_the_papers_table():
    table = {
        name: (m.initializer, m.student_teacher, m.updates)
        for name, m in methods.METHODS.items()
    }
    assert table == {
        "cl_rw": ("glorot_uniform", False, "block"),
        "cm_rw": ("glorot_uniform", False, "model"),
        "cl_mw": ("mean", False, "block"),
        "cm_mw": ("mean", False, "model"),
        "stn": ("glorot_uniform", True, "block"),
        "stn_cm": ("glorot_uniform", True, "model"),
        "stn_kd": ("glorot_uniform", True, "model"),
    }
    assert [name for name, m in methods.METHODS.items() if m.taught] == ["stn_kd"]
    assert methods.select("paper") == ("cl_rw", "cm_rw", "cl_mw", "cm_mw", "stn")
    assert methods.select("stn,all") == ("cl_rw", "cm_rw", "cl_mw", "cm_mw", "stn", "stn_cm")
    assert methods.select("stn, cl_rw,stn") == ("cl_rw", "stn")


def test_room_for_activations_is_asked_for_in_gib(tmp_path):
    found = parse(
        ["--activation_memory=0.5", "--activation_disk=0", f"--activation_dir={tmp_path}"],
        tmp_path,
    )
    assert (found.activation_memory, found.activation_disk) == (2**29, 0)
    assert found.activation_dir == tmp_path
    default = parse([], tmp_path)
    assert default.activation_memory is default.activation_disk is None


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--activation_memory=-1", "must be at least 0"),
        ("--activation_disk=many", "must be a number"),
        ("--activation_dir=/no/such/folder", "is not a folder that can be written to"),
        ("--activation_dtype=int8", "must be one of exact|float16"),
        ("--parent_seed=4294967296", "is too large; allowed: below 4294967296"),
        ("--export=litert --shard=1/2", "--export needs all trials"),
        ("--precision=half", "must be one of auto|float32|mixed_bfloat16|mixed_float16"),
    ],
)
def test_wrong_settings_of_a_run_are_refused(argument, expected, tmp_path):
    with pytest.raises(InputError, match=expected.replace("|", r"\|")):
        parse(argument.split(), tmp_path)


def test_what_is_rounded_determines_those_that_read_it(tmp_path):
    rounded = parse(["--activation_dtype=float16"], tmp_path)
    assert rounded.of_trial("cl_rw")["activation_dtype"] == "float16"
    assert rounded.of_trial("stn_cm")["activation_dtype"] == "float16"
    assert "activation_dtype" not in rounded.of_trial("cm_rw")


TEXT = st.text(max_size=30) | st.sampled_from(
    ["", "0", "-1", "1e400", "nan", "inf", "all", "1,2", ",", "none", "true", "a" * 5000]
    + ["\udcff", "\0", "--", "=", "-", " ", "1\n2"]
)
NAMES = st.sampled_from(sorted(set(declarations.declare()))) | TEXT
ARGUMENTS = (
    st.builds("--{}={}".format, NAMES, TEXT)
    | st.builds("--{}".format, NAMES)
    | st.builds("--no{}".format, NAMES)
    | TEXT
)


def parsed_or_refused(arguments, folder):
    """The settings, or None where one line says why there are none."""
    before = sorted(folder.rglob("*"))
    try:
        found = command_line.parse(arguments, folder)
    except InputError as error:
        message, code = endings.describe(error)
        assert code == 2
        assert message
        assert len(message.splitlines()) == 1
        assert len(message) < 600
        found = None
    assert sorted(folder.rglob("*")) == before
    return found


@given(st.lists(ARGUMENTS, max_size=4))
def test_no_command_line_ends_in_a_traceback(arguments):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        found = parsed_or_refused(arguments, Path(folder))
        if found:
            for count in (found.epochs, found.parent_epochs, found.batch_size):
                assert count >= 1
            assert found.width > 0
            assert found.learning_rate > 0
            assert found.methods
            assert found.folder.name  # results never go to the output folder itself


LINES = ARGUMENTS | st.sampled_from(["# comment", "--flagfile=mine.flags", "--epochs=2"])


@given(st.lists(LINES, max_size=6))
def test_no_flag_file_ends_in_a_traceback(lines):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        content = "\n".join(lines).encode("utf-8", "replace")
        Path("mine.flags").write_bytes(content)
        parsed_or_refused(["--flagfile=mine.flags"], Path(folder))


@given(st.binary(max_size=200))
def test_no_bytes_as_flag_file_end_in_a_traceback(content):
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        Path("mine.flags").write_bytes(content)
        parsed_or_refused(["--flagfile=mine.flags"], Path(folder))


@given(
    epochs=st.integers(2, 10**9),
    width=st.floats(1e-6, 1e6),
    rate=st.floats(1e-30, 1e30),
    seeds=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=5),
)
def test_what_is_typed_is_what_is_asked_for(epochs, width, rate, seeds):
    typed = [f"--epochs={epochs}", f"--width={width!r}", f"--learning_rate={rate!r}"]
    typed.append(f"--seeds={','.join(map(str, seeds))}")
    found = command_line.parse(typed, Path("no flag files here"))
    assert (found.epochs, found.width, found.learning_rate) == (epochs, width, rate)
    assert found.seeds == tuple(dict.fromkeys(seeds))
