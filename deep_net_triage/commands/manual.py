"""What `--help` prints, and the same as the page of all flags in the documents."""

import re
import textwrap
from collections.abc import Iterator

from absl import flags

from deep_net_triage.commands import declarations, program

_WIDTH = 96
_VALUES = {"int": "N", "float": "X", "string": "TEXT"}
_EXAMPLES = (
    ("Repeat the paper's experiment by one method", "--dataset=stanford_dogs --method=cl_rw"),
    (
        "See which blocks of your own model can be replaced",
        "--parent=my_model.keras --image_dir=photos --list_blocks",
    ),
    (
        "Make it smaller, and undo what clearly loses more than two points of accuracy",
        "--parent=my_model.keras --image_dir=photos --method=stn_kd --compress --max_drop=0.02",
    ),
)


def text(values: flags.FlagValues) -> str:
    """Returns examples and all flags by task, for a terminal.

    Args:
        values: parsed; they are shown as defaults.
    """
    lines = [
        "Replaces each block of a trained convolutional network (the parent) with one layer,",
        "and retrains the result (a student).",
        "",
    ]
    for meaning, arguments in _EXAMPLES:
        lines += [f"{meaning}:", f"  {program.in_shell(f'{program.name()} {arguments}')}", ""]
    chosen = f"recipe {values.recipe}, data set {values.dataset}"
    lines.append(f"Values in parentheses are the defaults here ({chosen}).")
    for title, names in declarations.by_task().items():
        lines += ["", f"{title}:"]
        for name in names:
            lines += _in_terminal(values[name])
    return "\n".join(lines)


def page(values: flags.FlagValues) -> Iterator[str]:
    """Yields the lines of a Markdown page with a list of flags for each task.

    Args:
        values: parsed; they are shown as defaults.
    """
    for title, names in declarations.by_task().items():
        yield from ("", f"## {title}", "")
        for name in names:
            default = _default(values[name])
            shown = f"; default: `{default}`" if default else ""
            yield f"- **`{_usage(values[name])}`**{shown}<br>{_meaning(values[name])}"


def _in_terminal(flag: flags.Flag) -> list[str]:
    default, meaning = _default(flag), _meaning(flag)
    meaning = f"{meaning} ({default})" if default else meaning
    indent = {"initial_indent": " " * 6, "subsequent_indent": " " * 6}
    return [f"  {_usage(flag)}", *textwrap.wrap(meaning, _WIDTH, **indent)]


def _usage(flag: flags.Flag) -> str:
    if flag.boolean:
        return f"--[no]{flag.name}"
    if flag.flag_type() == "string enum":
        return f"--{flag.name}={'|'.join(flag.parser.enum_values)}"
    return f"--{flag.name}={_VALUES[flag.flag_type()]}"


def _meaning(flag: flags.Flag) -> str:
    # absl puts the values of a choice before its meaning.
    return re.sub(r"^<[^>]*>: ", "", flag.help)


def _default(flag: flags.Flag) -> str:
    if flag.value is None:
        return ""
    if flag.boolean:
        return "on" if flag.value else "off"
    return f"{flag.value:g}" if isinstance(flag.value, float) else str(flag.value)
