"""What `--help` and the page of all flags say."""

import re
import shlex

import pytest

from deep_net_triage.commands import command_line, declarations, manual
from tests.conftest import REPOSITORY

FLAGS_DIR = REPOSITORY / "flags"
# `many-machines.md` has flags of batch systems too; `command-line.md` is made from the flags.
OTHERS = ("many-machines.md", "command-line.md")
PAGES = ("README.md", *(f"docs/{page.name}" for page in REPOSITORY.glob("docs/*.md")))


def defaults(*arguments):
    """The defaults in parentheses that help shows, by flag."""
    text = command_line.help_text([*arguments, "--help"], FLAGS_DIR)
    found = re.findall(r"^  --(?:\[no\])?(\w+).*\n((?: {6}.*\n?)+)", text, re.MULTILINE)
    shown = {name: re.search(r"\(([^()]*)\)\s*$", meaning) for name, meaning in found}
    return {name: match and match[1] for name, match in shown.items()}


def test_every_flag_is_listed_once_and_under_a_task():
    names = [name for of_task in declarations.by_task().values() for name in of_task]
    assert len(names) == len(set(names))
    assert set(names) == set(declarations.declare()) - {"flagfile", "undefok"}
    assert list(defaults()) == names


@pytest.mark.parametrize("page", sorted(page for page in PAGES if not page.endswith(OTHERS)))
def test_documents_name_only_flags_that_exist(page):
    """Those of this command, and those that the repository's scripts read."""
    scripts = [*REPOSITORY.glob("figures/**/*.py"), *REPOSITORY.glob("benchmarks/*.py")]
    texts = [script.read_text(encoding="utf-8") for script in scripts]
    allowed = {name for text in texts for name in re.findall(r'"--(\w+)"', text)}
    allowed |= {"help", *declarations.declare()}
    allowed |= {f"no{name}" for name in allowed}
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    assert set(re.findall(r"(?<![\w-])--([a-z][a-z_]+)\b", text)) <= allowed


def parse(typed):
    """The settings of a command, its files apart, which exist only in its text."""
    absent = ("--parent=", "--image_dir=")
    given = [part for part in typed if not part.startswith(absent)]
    return command_line.parse(given, FLAGS_DIR)


def test_it_begins_with_three_examples():
    text = command_line.help_text(["--help"], FLAGS_DIR)
    examples = re.findall(r"^  python run_triage.py (.*)$", text, re.MULTILINE)
    assert len(examples) == 3
    for example in examples:
        parse(example.split())


def commands(page):
    """The arguments of each command of this program that a page has in a block of code."""
    text = (REPOSITORY / page).read_text(encoding="utf-8")
    blocks = re.findall(r"```bash\n(.*?)```", text, re.DOTALL)
    lines = "\n".join(blocks).replace("\\\n", " ").splitlines()
    typed = [shlex.split(line, comments=True) for line in lines]
    ours = [words for words in typed if "run_triage.py" in words]
    return [words[words.index("run_triage.py") + 1 :] for words in ours]


SHOWN = {page: commands(page) for page in PAGES}


def test_the_pages_show_many_commands():
    assert sum(map(len, SHOWN.values())) > 15


@pytest.mark.parametrize("page", [page for page, found in SHOWN.items() if found])
def test_commands_that_pages_show_are_accepted(page, monkeypatch):
    monkeypatch.setenv("SLURM_ARRAY_TASK_ID", "0")  # which `--shard=auto` reads
    monkeypatch.setenv("SLURM_ARRAY_TASK_COUNT", "2")
    for typed in SHOWN[page]:
        parse(typed)


@pytest.mark.parametrize("file", sorted(FLAGS_DIR.rglob("*.flags")), ids=lambda file: file.stem)
def test_flag_files_are_accepted(file):
    parse([f"--flagfile={file}"])


def test_defaults_are_those_of_recipe_data_set_and_flag_files():
    shown = defaults()
    assert (shown["dataset"], shown["width"], shown["schedule"]) == ("digits", "0.25", "cosine")
    assert (shown["control"], shown["compress"], shown["parent"]) == ("on", "off", None)
    shown = defaults("--dataset=stanford_dogs", "--recipe=paper")
    assert (shown["image_size"], shown["width"], shown["schedule"]) == ("224", "1", "constant")
    shown = defaults("--dataset=mnist", f"--flagfile={FLAGS_DIR / 'small.flags'}")
    assert (shown["image_size"], shown["train_examples"]) == ("32", "1800")


def test_a_wrong_command_line_shows_the_usual_defaults():
    assert defaults("--epochs=none") == defaults()


def test_choices_stand_in_the_flag_and_not_in_its_meaning():
    text = command_line.help_text([])
    assert "  --save=macs|parameters|latency\n      What --compress" in text


@pytest.mark.parametrize("task", declarations.by_task())
def test_the_page_has_a_section_for_each_task(task):
    values = declarations.declare()
    values(["program"])
    lines = list(manual.page(values))
    begin = lines.index(f"## {task}") + 2
    names = declarations.by_task()[task]
    section = lines[begin : begin + len(names)]
    for name, line in zip(names, section, strict=True):
        assert re.match(rf"- \*\*`--(\[no\])?{name}(=\S+)?`\*\*(; default: `\S+`)?<br>\S", line)
