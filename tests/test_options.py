"""The library's keyword arguments are the flags of the command line, and say so in types."""

import inspect
import re
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import Literal, get_args, get_type_hints

import numpy as np
import pytest

from deep_net_triage import api, methods
from deep_net_triage.commands import command_line, declarations, options, recipes
from deep_net_triage.commands.options import CompressOptions, Options
from deep_net_triage.errors import InputError

OPTIONS = get_type_hints(CompressOptions)
FLAGS = declarations.declare()
# What a flag of text stands for.
METHODS = Literal[(*methods.METHODS, *methods.GROUPS, methods.CONTROL)]
EXPORTS = Literal[declarations.EXPORTS]
TEXTS = {
    "method": METHODS | Iterable[METHODS],
    "block": str | int | Iterable[str | int],
    "seeds": int | Iterable[int],
    "final_seeds": int | Iterable[int],
    "latency_batches": int | Iterable[int],
    "export": EXPORTS | Iterable[EXPORTS],
    "shard": str,
    "output_dir": str | PathLike[str] | None,
    "activation_dir": str | PathLike[str],
}


def own_flags():
    """Names of the flags that absl does not declare itself."""
    by_module = FLAGS.flags_by_module_dict()
    return {flag.name for flags in by_module.values() for flag in flags} - {
        "flagfile",
        "undefok",
    }


def test_every_flag_is_an_option_or_refused_with_a_reason():
    """A new flag goes into `Options`, or into `REFUSED` with the reason."""
    given = OPTIONS.keys() - set(options.OF_THE_LIBRARY)
    assert not given & options.REFUSED.keys()
    # The library's `class_names` is a list, the command line's a file.
    others = {"max_drop", "save", "class_names"}
    assert given | options.REFUSED.keys() | others == own_flags()


def type_of(flag):
    """The type that an option must have, by the kind of its flag."""
    if flag.name in TEXTS:
        return TEXTS[flag.name]
    if flag.flag_type() == "string enum":
        return Literal[tuple(flag.parser.enum_values)]
    return {"bool": bool, "int": int, "float": float}[flag.flag_type()]


def test_options_have_the_types_and_choices_of_their_flags():
    expected = {
        name: type_of(FLAGS[name]) for name in OPTIONS if name not in options.OF_THE_LIBRARY
    }
    assert expected | {"name": str, "class_names": Sequence[str] | None} == OPTIONS
    assert len(get_args(get_args(OPTIONS["method"])[0])) == len(methods.METHODS) + 3


def test_the_documentation_names_each_option_with_its_default():
    pattern = re.compile(r"^    (\w+): (?:.|\n {8})*?\(([^()]+)\)\.$", re.MULTILINE)
    documented = [
        pair
        for kind in (Options, CompressOptions)
        for pair in pattern.findall(inspect.getdoc(kind))
    ]
    assert [name for name, _ in documented] == list(OPTIONS)
    by_recipe = declarations.declare()
    by_recipe(["program", *recipes.flags_of("settled", given_parent=True, own_images=True)])
    for name, default in documented:
        if name in options.OF_THE_LIBRARY or name == "output_dir":
            continue
        value = by_recipe[name].value
        if value is not None:  # else the documentation says what happens
            assert default == (str(value).lower() if isinstance(value, bool) else str(value))


@pytest.mark.parametrize(
    ("function", "own", "kind"),
    [
        (api.triage, ["max_drop"], Options),
        (api.compress_within, ["validation", "max_drop", "save"], CompressOptions),
    ],
)
def test_functions_of_the_library_show_their_options(function, own, kind):
    parameters = inspect.signature(function).parameters
    assert [*parameters] == ["model", "train", "test", *own, "progress", "options"]
    assert get_args(parameters["options"].annotation) == (kind,)


def test_arguments_of_their_own_are_those_of_the_command_line():
    default = inspect.signature(api.triage).parameters["max_drop"].default
    assert default == FLAGS["max_drop"].default
    compressing = inspect.signature(api.compress_within).parameters
    assert (compressing["max_drop"].default, compressing["save"].default) == (0.01, "latency")
    assert get_args(options.Saving) == tuple(FLAGS["save"].parser.enum_values)


def test_values_become_what_is_typed_on_a_command_line():
    given = {
        "seeds": range(3),
        "method": ["cl_mw", "stn"],
        "block": (1, "block2"),
        "control": False,
        "learning_rate": 1e-5,
        "clip_norm": None,
        "activation_dir": Path("/tmp"),
        "name": "mine",
    }
    arguments = options.as_arguments(given, Options)
    settings = command_line.parse([*arguments, "--output_dir=here"], in_memory=True)
    assert settings.seeds == (0, 1, 2)
    assert settings.methods == ("cl_mw", "stn")
    assert settings.blocks == ("1", "block2")
    assert not settings.control
    assert settings.learning_rate == 1e-5
    assert settings.clip_norm is None
    assert settings.activation_dir == Path("/tmp")
    assert settings.dataset == "digits"


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"dataset": "digits"}, "dataset is not an option: the images are given"),
        ({"train_examples": 5}, "train_examples is not an option: the images are given"),
        ({"parent_epochs": 5}, "parent_epochs is not an option: the model is given"),
        ({"list_blocks": True}, "list_blocks is not an option: call find_blocks"),
        ({"compress": True}, "compress is not an option: call compress_within"),
        ({"estimate": True}, "estimate is not an option: every call says what it will take"),
        ({"parallel_trials": 2}, "parallel_trials is not an option: trials run in the calling"),
        ({"final_epochs": 2}, "final_epochs is not an option; allowed: "),
        ({"epoch": 2}, "epoch is not an option; allowed: epochs"),
        ({"flagfile": "x"}, "flagfile is not an option; allowed: "),
        ({"qqqq": 2}, r"qqqq is not an option; allowed: those of help\(deep_net_triage"),
        ({"save_models": True}, "save_models needs output_dir; without one nothing is kept"),
        ({"export": "litert", "output_dir": None}, "export needs output_dir"),
    ],
)
def test_what_is_not_an_option_is_refused_in_a_line(given, message):
    with pytest.raises(InputError, match=message) as refusal:
        options.as_arguments(given, Options)
    assert "\n" not in str(refusal.value)


def test_what_needs_a_folder_is_allowed_with_one_or_switched_off():
    given = {"export": "litert", "output_dir": "x"}
    assert options.as_arguments(given, Options) == [
        "--export=litert",
        "--output_dir=x",
    ]
    assert options.as_arguments({"save_models": False}, Options) == ["--save_models=False"]


def test_compressing_has_more_options_than_triage():
    given = {"final_epochs": 2, "final_seeds": (1, 2)}
    arguments = options.as_arguments(given, CompressOptions)
    assert arguments == ["--final_epochs=2", "--final_seeds=1,2"]
    with pytest.raises(InputError, match="alternatives needs output_dir"):
        options.as_arguments({"alternatives": True}, CompressOptions)


def test_arrays_are_options_as_lists_are():
    arguments = options.as_arguments({"seeds": np.arange(2), "output_dir": None}, Options)
    assert arguments == ["--seeds=0,1"]
